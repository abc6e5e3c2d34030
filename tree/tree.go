// Package tree is the mailboxes of an account as a tree of directories: their names
// on the server and their names here, and which is which.
package tree

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"imapfs/mail"
)

// Folder is a folder's place in the tree: the root, a mailbox, or a level of the
// hierarchy that the server does not list by itself. It does not change.
type Folder struct {
	mail.Folder // what the server lists; the zero value for a level that it does not

	Key      string             // the same at every mount: names from the root
	Children map[string]*Folder // by their names here
}

// Mailbox is the name on the server of what has messages here; "" where there are
// none.
func (f *Folder) Mailbox() string {
	if f.Selectable {
		return f.Name
	}
	return ""
}

// Names returns the children's names, sorted.
func (f *Folder) Names() []string { return slices.Sorted(maps.Keys(f.Children)) }

// Tree is the folders that there are now. It is safe for concurrent use.
type Tree struct {
	base string

	mu    sync.RWMutex // guards what follows; nothing else is locked or asked for under it
	root  *Folder
	paths map[string][]string // by mailbox
}

// New returns the tree of mailboxes that their hierarchy delimiters make. With
// base, it is the tree below that mailbox, and an error if that is not there.
func New(folders []mail.Folder, base string) (*Tree, error) {
	t := &Tree{base: base}
	_, _, err := t.Update(folders)
	return t, err
}

// Update takes in what the server lists now, and returns the roots of the tree
// before and of the one from now on. After an error all is as it was.
func (t *Tree) Update(folders []mail.Folder) (before, now *Folder, err error) {
	now, err = build(folders, t.base)
	if err != nil {
		return nil, nil, err
	}
	paths := make(map[string][]string)
	now.index(paths, nil)
	t.mu.Lock()
	defer t.mu.Unlock()
	before = t.root
	t.root, t.paths = now, paths
	return before, now, nil
}

// index notes the paths of all mailboxes.
func (f *Folder) index(paths map[string][]string, path []string) {
	if f.Mailbox() != "" {
		paths[f.Mailbox()] = path
	}
	for name, c := range f.Children {
		c.index(paths, append(slices.Clip(path), name))
	}
}

// At returns the folder at a path of names here, nil if there is none.
func (t *Tree) At(path []string) *Folder {
	t.mu.RLock()
	f := t.root
	t.mu.RUnlock()
	for _, name := range path {
		if f == nil {
			return nil
		}
		f = f.Children[name]
	}
	return f
}

// Find returns the path of names here that leads to a mailbox.
func (t *Tree) Find(mailbox string) ([]string, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	path, ok := t.paths[mailbox]
	return path, ok
}

// level is a folder under construction, its children still by their names on the
// server.
type level struct {
	listed   mail.Folder
	children map[string]*level
}

func (l *level) child(component string) *level {
	c := l.children[component]
	if c == nil {
		c = &level{children: make(map[string]*level)}
		l.children[component] = c
	}
	return c
}

// build puts the mailboxes into a tree, of which it returns the part below base.
func build(folders []mail.Folder, base string) (*Folder, error) {
	root := &level{children: make(map[string]*level)}
	top, exact := root, false
	for _, f := range folders {
		l := root
		components := []string{f.Name}
		if f.Delim != 0 {
			// A trailing delimiter, as some servers list a \Noselect parent,
			// makes no level of its own.
			components = strings.Split(strings.TrimSuffix(f.Name, string(f.Delim)), string(f.Delim))
		}
		for i, c := range components {
			l = l.child(c)
			// The mounted folder can be a level that is not listed by itself.
			switch above := components[:i+1]; {
			case base == "": // a component can be "" too
			case isBase(above, string(f.Delim), base):
				top, exact = l, true
			case !exact && isBase(above, "/", base):
				top = l
			}
		}
		if f.Selectable || !l.listed.Selectable { // some servers list a folder twice, with and without a delimiter
			l.listed = f
		}
	}
	if base != "" && top == root {
		return nil, fmt.Errorf("there is no folder %q on the server; mount without a folder to see which there are", base)
	}
	return top.folder(""), nil
}

// isBase says whether base names the folder with these components. INBOX is the
// same in any case (RFC 9051 §5.1).
func isBase(components []string, delim, base string) bool {
	const inbox = "INBOX"
	if components[0] == inbox && len(base) >= len(inbox) && strings.EqualFold(base[:len(inbox)], inbox) {
		base = inbox + base[len(inbox):]
	}
	return strings.Join(components, delim) == base
}

func (l *level) folder(key string) *Folder {
	f := &Folder{Folder: l.listed, Key: key, Children: make(map[string]*Folder)}
	for component, c := range l.children {
		name := mail.FolderName(component, l.listed.Selectable)
		f.Children[name] = c.folder(key + "\x00" + name)
	}
	return f
}
