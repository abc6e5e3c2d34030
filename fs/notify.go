package fs

import (
	"strconv"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"

	"imapfs/mail"
)

// notifier tells the kernel what has changed. It does so in a goroutine of its
// own: a notification can wait for a lock that the kernel holds while it waits
// for an answer of ours, so no handler, and nothing that a handler waits for,
// may send one. The goroutine runs from Mount until close.
type notifier struct {
	fsys *FS
	done chan struct{}

	mu      sync.Mutex // guards what follows
	wake    *sync.Cond
	pending []mail.Change
	closed  bool
}

func (n *notifier) init(fsys *FS) {
	n.fsys = fsys
	n.wake = sync.NewCond(&n.mu)
	n.done = make(chan struct{})
}

// Changed takes in what the server has reported. It returns at once.
func (fsys *FS) Changed(c mail.Change) {
	fsys.changes.Add(1)
	fsys.notes.add(c)
}

func (n *notifier) add(c mail.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.pending = append(n.pending, c)
		n.wake.Signal()
	}
}

func (n *notifier) close() {
	n.mu.Lock()
	n.closed = true
	n.wake.Signal()
	n.mu.Unlock()
	<-n.done
}

func (n *notifier) run() {
	defer close(n.done)
	for {
		n.mu.Lock()
		for len(n.pending) == 0 && !n.closed {
			n.wake.Wait()
		}
		if n.closed {
			n.mu.Unlock()
			return
		}
		c := n.pending[0]
		n.pending = n.pending[1:]
		n.mu.Unlock()
		if c.Folder == "" {
			n.fsys.foldersChanged()
		} else {
			n.fsys.messagesChanged(c)
		}
	}
}

// inode returns the node at a path of names if the kernel knows it.
func (fsys *FS) inode(path []string) *gofs.Inode {
	inode := fsys.root.EmbeddedInode()
	for _, name := range path {
		if inode = inode.GetChild(name); inode == nil {
			return nil
		}
	}
	return inode
}

// void takes a name out of the kernel's memory. The error does not matter: it
// says that the kernel did not know the name.
func void(parent *gofs.Inode, name string) {
	if child := parent.GetChild(name); child != nil {
		if parent.NotifyDelete(name, child) != syscall.ENOSYS {
			return
		}
	}
	parent.NotifyEntry(name)
}

func (fsys *FS) messagesChanged(c mail.Change) {
	fsys.mu.Lock()
	path, ok := fsys.tree.find(c.Folder)
	fsys.mu.Unlock()
	if !ok {
		return
	}
	folder := fsys.inode(path)
	if folder == nil {
		return
	}
	if c.Renewed {
		for name, child := range folder.Children() {
			if _, ok := child.Operations().(*messageNode); ok {
				// Whoever has it open gets ESTALE from the node itself: a
				// NotifyDelete would make the kernel say ENOENT instead.
				child.NotifyContent(-1, 0) // its attributes
				folder.NotifyEntry(name)
			}
		}
	}
	for _, uid := range c.Removed {
		name := strconv.FormatUint(uint64(uid), 10)
		if child := messageIn(folder, name); child != nil && child.isGoing() {
			continue // its turn comes when the rm is over
		}
		void(folder, name)
	}
	for _, uid := range c.Added {
		folder.NotifyEntry(strconv.FormatUint(uint64(uid), 10)) // it may be known not to be there
	}
	folder.NotifyContent(0, 0) // the listing, and the date of the newest message
}

func (fsys *FS) foldersChanged() {
	tree, err := buildTree(fsys.mail.Folders(), fsys.opt.Folder)
	if err != nil {
		// The mounted folder itself is gone. What is known stays; asking for
		// more fails with the server's own word.
		fsys.log.Warn("the mounted folder is gone", "error", err)
		return
	}
	fsys.mu.Lock()
	old := fsys.tree
	fsys.tree = tree
	fsys.mu.Unlock()
	renew(fsys.root.EmbeddedInode(), old, tree)
}

// renew tells the kernel the difference of two trees below a node that it
// knows.
func renew(inode *gofs.Inode, old, now *directory) {
	differs := false
	for name, child := range old.children {
		next := now.children[name]
		if next == nil || next.key != child.key || next.mailbox != child.mailbox {
			void(inode, name)
			differs = true
		} else if known := inode.GetChild(name); known != nil {
			renew(known, child, next)
		}
	}
	for name := range now.children {
		if old.children[name] == nil {
			inode.NotifyEntry(name)
			differs = true
		}
	}
	if differs {
		inode.NotifyContent(0, 0)
	}
}
