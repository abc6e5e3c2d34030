package fs

import (
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"

	"imapfs/mail"
	"imapfs/tree"
)

// Changed takes in what the server has reported. It does not wait for the kernel,
// but for the cache on disk to take note of what is gone.
//
// An answer that a handler has just given may reach the kernel after the
// notification and bring back what that has voided. So everything is told once
// more a little later.
func (fsys *FS) Changed(c mail.Change) {
	fsys.content.Changed(c)
	if c.Folder == "" {
		fsys.notes.add(fsys.foldersChanged)
		return
	}
	if c.Rights {
		fsys.notes.add(func() { fsys.rightsChanged(c.Folder) })
		fsys.notes.later(onTheWay, func() { fsys.rightsChanged(c.Folder) })
	}
	if len(c.Flags) > 0 {
		fsys.flagged.now(c.Folder)
	}
	fsys.dates.forget(c.Folder)
	look := func() {
		fsys.flagsChanged(c.Folder)
		fsys.found.void()
	}
	fsys.notes.add(look)
	fsys.notes.later(onTheWay, look)
	if len(c.Added)+len(c.Removed) == 0 && !c.Renewed {
		return // the kernel keeps nothing else of flags
	}
	fsys.notes.add(func() {
		fsys.messagesChanged(c, void)
		fsys.stamp(c.Folder)
	})
	fsys.notes.later(onTheWay, func() { fsys.messagesChanged(c, (*gofs.Inode).NotifyEntry) })
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

// inodeOf returns the node of a mailbox if it is shown and the kernel knows it.
func (fsys *FS) inodeOf(mailbox string) *gofs.Inode {
	path, ok := fsys.folders.Find(mailbox)
	if !ok {
		return nil
	}
	return fsys.inode(path)
}

// shown is what a mailbox is called here, for the log: its own name can be one that it
// has no more.
func (fsys *FS) shown(mailbox string) string {
	if path, ok := fsys.folders.Find(mailbox); ok {
		return strings.Join(path, "/")
	}
	return mailbox
}

// pathOf is where a message is, from the root of the mount.
func (fsys *FS) pathOf(id mail.ID) string {
	return path.Join(fsys.shown(id.Folder), mail.Number(id.UID))
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
	fsys.trashChanged(c)
	folder := fsys.inodeOf(c.Folder)
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
		for _, name := range fsys.namesOf(mail.ID{Folder: c.Folder, UIDValidity: c.UIDValidity, UID: uid}) {
			if child := messageIn(folder, name); child != nil && fsys.leaving.leaves(child.content.ID()) {
				continue // the kernel holds the folder until rmdir is answered, and is told then
			}
			void(folder, name)
		}
	}
	for _, uid := range c.Added {
		folder.NotifyEntry(mail.Number(uid)) // it may be known not to be there
	}
	folder.NotifyContent(0, 0) // the listing, and the date of the newest message
}

// flagsChanged has the kernel look again for the flags of a folder.
func (fsys *FS) flagsChanged(mailbox string) {
	if folder := fsys.inodeOf(mailbox); folder != nil && folder.GetChild(FolderFlagsName) != nil {
		folder.NotifyEntry(FolderFlagsName)
	}
}

// rightsChanged declares the attributes void of a folder and all in it.
func (fsys *FS) rightsChanged(mailbox string) {
	folder := fsys.inodeOf(mailbox)
	if folder == nil {
		return
	}
	folder.NotifyContent(-1, 0)
	for _, child := range folder.Children() {
		if n, ok := child.Operations().(*messageNode); ok {
			n.NotifyContent(-1, 0)
			voidAttributes(child)
		}
	}
}

func voidAttributes(inode *gofs.Inode) {
	for _, child := range inode.Children() {
		child.NotifyContent(-1, 0)
		voidAttributes(child)
	}
}

// voidListings declares void what the kernel has listed of a message, because names
// are back that were hidden.
func (fsys *FS) voidListings(id mail.ID) {
	void := func() {
		for _, n := range fsys.nodes(id) {
			n.NotifyContent(0, 0)
			if attachments := n.GetChild(attachmentsName); attachments != nil {
				attachments.NotifyContent(0, 0)
			}
		}
	}
	fsys.notes.add(void)
	fsys.notes.later(onTheWay, void)
}

// changes is when messages last came to a mailbox or left it, as far as the kernel
// was told.
type changes struct {
	mu   sync.Mutex // guards last
	last map[string]time.Time
}

// at returns when a mailbox has changed last, start if it has not.
func (c *changes) at(mailbox string, start time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.last[mailbox]; ok {
		return at
	}
	return start
}

// now notes a change.
func (c *changes) now(mailbox string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = make(map[string]time.Time)
	}
	now := time.Now()
	if last := c.last[mailbox]; !now.After(last) {
		now = last.Add(1) // the clock was set back
	}
	c.last[mailbox] = now
}

// stamp dates the last change of a folder, for those who wait for it. Whoever
// sees the new date gets a new listing too: the old one was declared void
// before.
func (fsys *FS) stamp(mailbox string) {
	fsys.changes.now(mailbox)
	if folder := fsys.inodeOf(mailbox); folder != nil {
		folder.NotifyContent(-1, 0) // the attributes alone
	}
}

func (fsys *FS) foldersChanged() {
	d, err := fsys.arranging.update(fsys)
	if err != nil {
		// The mounted folder itself is gone. What is known stays; asking for
		// more fails with the server's own word.
		fsys.log.Warn("the mounted folder is gone", "error", err)
		return
	}
	fsys.content.ForgetFolders()
	d.tell(fsys, void)
	fsys.notes.later(onTheWay, func() { d.tell(fsys, (*gofs.Inode).NotifyEntry) })
}

// difference is that of two trees, which the kernel has to be told of.
type difference struct {
	before, now *tree.Folder
	ours        map[entry]int // names that it has changed by itself, or is about to
}

func (d difference) tell(fsys *FS, void func(parent *gofs.Inode, name string) syscall.Errno) {
	d.renew(fsys.root.EmbeddedInode(), d.before, d.now, void)
}

// renew tells the kernel the difference below a node that it knows.
func (d difference) renew(inode *gofs.Inode, before, now *tree.Folder, void func(parent *gofs.Inode, name string) syscall.Errno) {
	differs := before.Mailbox() != now.Mailbox()
	for name, child := range before.Children {
		next := now.Children[name]
		switch {
		case d.ours[entry{now.Key, name}] > 0:
			continue
		case next == nil:
			void(inode, name)
			differs = true
		case next.Key != child.Key, next.Mailbox() != child.Mailbox():
			// Another folder, or the same with other messages in it.
			inode.NotifyEntry(name)
			differs = true
		}
		if known := inode.GetChild(name); next != nil && next.Key == child.Key && known != nil {
			d.renew(known, child, next, void)
		}
	}
	for name := range now.Children {
		if before.Children[name] == nil && d.ours[entry{now.Key, name}] == 0 {
			inode.NotifyEntry(name)
			differs = true
		}
	}
	if differs {
		inode.NotifyContent(0, 0)
	}
}
