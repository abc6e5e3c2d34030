package fs

import (
	"strconv"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"

	"imapfs/mail"
)

// notifier tells the kernel what has changed. It does so in a goroutine of its
// own: a notification can wait for a lock that the kernel holds while it waits
// for an answer of ours, so no handler, and nothing that a handler waits for,
// may send one. The goroutine runs from Mount until close.
type notifier struct {
	done chan struct{}

	mu      sync.Mutex // guards what follows
	wake    *sync.Cond
	pending []func()
	closed  bool
}

func (n *notifier) init() {
	n.wake = sync.NewCond(&n.mu)
	n.done = make(chan struct{})
}

// onTheWay is how long an answer to the kernel can be on its way, generously.
const onTheWay = time.Second

// Changed takes in what the server has reported. It returns at once.
//
// An answer that a handler has just given may reach the kernel after the
// notification and bring back what that has voided. So everything is told once
// more a little later.
func (fsys *FS) Changed(c mail.Change) {
	fsys.mu.Lock()
	m := fsys.mirror
	fsys.mu.Unlock()
	if m != nil {
		m.changed(c.Folder)
	}
	fsys.forget(c)
	if c.Folder == "" {
		fsys.notes.add(fsys.foldersChanged)
		return
	}
	fsys.notes.add(func() {
		fsys.messagesChanged(c, void)
		fsys.stamp(c.Folder)
	})
	fsys.notes.later(onTheWay, func() { fsys.messagesChanged(c, (*gofs.Inode).NotifyEntry) })
}

// forget drops what is cached of messages that are gone for good.
func (fsys *FS) forget(c mail.Change) {
	disk := fsys.cache.Disk()
	if c.Renewed {
		disk.Delete(folderPrefix(c.Folder))
		disk.Forget(validityPrefix(c.Folder, c.Was)) // and what is on its way
	}
	for _, uid := range c.Removed {
		disk.Forget(messagePrefix(mail.ID{Folder: c.Folder, UIDValidity: c.UIDValidity, UID: uid}))
	}
}

// forgetFolders drops what is cached of folders that are gone, also while there
// was no mount.
func (fsys *FS) forgetFolders() {
	there := make(map[string]bool)
	for _, f := range fsys.mail.Folders() {
		there[f.Name] = f.Selectable
	}
	disk := fsys.cache.Disk()
	for _, folder := range disk.Names(mailPrefix) {
		if !there[folder] {
			disk.Delete(folderPrefix(folder))
		}
	}
}

// add has tell called by the notifier's goroutine.
func (n *notifier) add(tell func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.pending = append(n.pending, tell)
		n.wake.Signal()
	}
}

// later is add after a while.
func (n *notifier) later(after time.Duration, tell func()) {
	time.AfterFunc(after, func() { n.add(tell) })
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
		tell := n.pending[0]
		n.pending = n.pending[1:]
		n.mu.Unlock()
		tell()
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

// void takes a name out of the kernel's memory, and says that what had it is
// gone, also to those who have it open. The error does not matter: it says that
// the kernel did not know the name. Told once more this would be wrong, because
// something new may have the name by then: NotifyEntry makes the kernel look.
func void(parent *gofs.Inode, name string) syscall.Errno {
	if child := parent.GetChild(name); child != nil {
		if errno := parent.NotifyDelete(name, child); errno != syscall.ENOSYS {
			return errno
		}
	}
	return parent.NotifyEntry(name)
}

func (fsys *FS) messagesChanged(c mail.Change, void func(parent *gofs.Inode, name string) syscall.Errno) {
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
				child.NotifyContent(0, 0) // its attributes and listing
				folder.NotifyEntry(name)
			}
		}
	}
	for _, uid := range c.Removed {
		name := strconv.FormatUint(uint64(uid), 10)
		if child := messageIn(folder, name); child != nil && child.isDeleting() {
			continue // the kernel holds the folder until rmdir is answered, and is told then
		}
		void(folder, name)
	}
	for _, uid := range c.Added {
		folder.NotifyEntry(strconv.FormatUint(uint64(uid), 10)) // it may be known not to be there
	}
	folder.NotifyContent(0, 0) // the listing, and the date of the newest message
}

// stamp dates the last change of a folder, for those who wait for it. Whoever
// sees the new date gets a new listing too: the old one was declared void
// before.
func (fsys *FS) stamp(mailbox string) {
	fsys.mu.Lock()
	now := time.Now()
	if last := fsys.changed[mailbox]; !now.After(last) {
		now = last.Add(1) // the clock was set back
	}
	fsys.changed[mailbox] = now
	path, ok := fsys.tree.find(mailbox)
	fsys.mu.Unlock()
	if !ok {
		return
	}
	if folder := fsys.inode(path); folder != nil {
		folder.NotifyContent(-1, 0) // the attributes alone
	}
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
	fsys.forgetFolders()
	inode := fsys.root.EmbeddedInode()
	renew(inode, old, tree, void)
	fsys.notes.later(onTheWay, func() { renew(inode, old, tree, (*gofs.Inode).NotifyEntry) })
}

// renew tells the kernel the difference of two trees below a node that it
// knows.
func renew(inode *gofs.Inode, old, now *directory, void func(parent *gofs.Inode, name string) syscall.Errno) {
	differs := old.mailbox != now.mailbox
	for name, child := range old.children {
		next := now.children[name]
		switch {
		case next == nil:
			void(inode, name)
			differs = true
		case next.mailbox != child.mailbox:
			// The same directory, with other messages in it.
			inode.NotifyEntry(name)
			differs = true
		}
		if known := inode.GetChild(name); next != nil && known != nil {
			renew(known, child, next, void)
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
