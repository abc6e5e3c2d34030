package fs

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
	"imapfs/tree"
)

// Mkdir makes a folder.
func (n *folderNode) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	f := n.now()
	if f == nil {
		return nil, syscall.ENOENT
	}
	component, errno := n.component(f, name)
	if errno != 0 {
		return nil, errno
	}
	errno = n.fsys.arrange(ctx, "make the folder", n.pathOf(name), []place{{n, name}}, func() error {
		return n.fsys.mail.CreateFolder(context.Background(), f.Path, component)
	})
	if errno != 0 {
		return nil, errno
	}
	if f = n.now(); f == nil || f.Children[name] == nil {
		return nil, syscall.ENOENT // another client was faster
	}
	return n.child(ctx, f.Children[name], out), 0
}

// removeFolder removes the folder that n shows by this name.
func (n *folderNode) removeFolder(ctx context.Context, name string) syscall.Errno {
	f := n.now()
	if f == nil || f.Children[name] == nil {
		return syscall.ENOENT
	}
	child := f.Children[name]
	if len(n.fsys.letters.entries(child.Mailbox())) > 0 {
		return n.fsys.decline("delete the folder", n.pathOf(name), errUnsent)
	}
	path := child.Path
	return n.fsys.arrange(ctx, "delete the folder", n.pathOf(name), []place{{n, name}}, func() error {
		return n.fsys.mail.DeleteFolder(context.Background(), path)
	})
}

// moveFolder renames the folder that n shows by name, to newName below to.
func (n *folderNode) moveFolder(ctx context.Context, name string, to *folderNode, newName string) syscall.Errno {
	f, target := n.now(), to.now()
	if f == nil || f.Children[name] == nil || target == nil {
		return syscall.ENOENT
	}
	if target.Children[newName] != nil {
		return n.fsys.outcome("rename the folder", n.pathOf(name)+" to "+to.pathOf(newName), errFolder)
	}
	component, errno := to.component(target, newName)
	if errno != 0 {
		return errno
	}
	path := f.Children[name].Path
	return n.fsys.arrange(ctx, "rename the folder", n.pathOf(name)+" to "+to.pathOf(newName), []place{{n, name}, {to, newName}}, func() error {
		return n.fsys.mail.RenameFolder(context.Background(), path, target.Path, component)
	})
}

// component returns what a new folder, which is to be called name below f, is called
// by the server.
func (n *folderNode) component(f *tree.Folder, name string) (component string, errno syscall.Errno) {
	refuse := func(r *refusal) (string, syscall.Errno) {
		return "", n.fsys.outcome("make the folder", n.pathOf(name), r)
	}
	component, ok := mail.ParseFolderName(name, f.Selectable)
	_, isMessage := n.fsys.parseName(name)
	switch {
	case isMessage && f.Selectable:
		return refuse(errLikeMessage)
	case strings.HasPrefix(name, "."):
		return "", n.fsys.errno("make the folder", n.pathOf(name), errDotFolder) // nobody has asked for it
	case !ok || component == "" || strings.ContainsFunc(component, isControl):
		return refuse(errFolderName)
	case f.Delim != 0 && strings.ContainsRune(component, f.Delim):
		return refuse(&refusal{fmt.Sprintf("the server has %q between the names of folders; choose a name without", f.Delim), syscall.EINVAL})
	}
	return component, 0
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }

// entry is a name in a folder.
type entry struct{ key, name string }

// arranging is what is done to folders from here, as the kernel sees it. It holds their
// directories locked until it is answered, and knows then: told of its own names, it
// would throw away what programs are in.
type arranging struct {
	mu      sync.Mutex // guards entries, and is held by update
	entries map[entry]int
}

func (a *arranging) add(e entry, by int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.entries == nil {
		a.entries = make(map[entry]int)
	}
	if a.entries[e] += by; a.entries[e] == 0 {
		delete(a.entries, e)
	}
}

// update has the tree be that of the folders that there are now, and returns what the
// kernel has to be told.
func (a *arranging) update(fsys *FS) (d difference, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d.before, d.now, err = fsys.folders.Update(fsys.mail.Folders())
	d.ours = maps.Clone(a.entries)
	return d, err
}

// place is a name in the folder that a node shows.
type place struct {
	dir  *folderNode
	name string
}

// arrange has act make, rename or remove the folder at these places. It waits for the
// server as long as any call, but does not end with an interrupt: who calls once more
// then would hear that the folder is there already, or gone. When the time is over act
// goes on, and the kernel is told when it is done.
func (fsys *FS) arrange(ctx context.Context, verb, object string, places []place, act func() error) syscall.Errno {
	ctx, finish := fsys.call(context.WithoutCancel(ctx))
	defer finish()
	done, late := make(chan error), make(chan struct{})
	for _, p := range places {
		fsys.arranging.add(entry{p.dir.key, p.name}, 1)
	}
	go func() {
		err := act()
		d, gone := fsys.arranging.update(fsys)
		for _, p := range places {
			fsys.arranging.add(entry{p.dir.key, p.name}, -1)
		}
		knows := err == nil
		select {
		case done <- err:
		case <-late:
			knows = false
		}
		if gone == nil {
			fsys.arranged(d, places, knows)
		}
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		close(late)
		err = context.Cause(ctx)
	}
	if err == nil {
		fsys.log.Info("done", "what", verb+" "+object)
	}
	return fsys.outcome(verb, object, err)
}

// arranged tells all others of what has changed, and the kernel of these places unless
// it knows.
func (fsys *FS) arranged(d difference, places []place, knows bool) {
	fsys.content.Changed(mail.Change{})
	fsys.content.ForgetFolders()
	tell := func(void func(parent *gofs.Inode, name string) syscall.Errno) {
		d.tell(fsys, void)
		if knows {
			return
		}
		for _, p := range places {
			// No void: the folder may have another name now, and live.
			p.dir.NotifyEntry(p.name)
			p.dir.NotifyContent(0, 0)
		}
	}
	fsys.notes.add(func() { tell(void) })
	fsys.notes.later(onTheWay, func() { tell((*gofs.Inode).NotifyEntry) })
}
