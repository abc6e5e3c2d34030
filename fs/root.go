package fs

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"imapfs/mail"
)

// directory is a folder's place in the tree: the root, a mailbox, or a level of
// the hierarchy that the server does not list by itself.
type directory struct {
	mailbox  string // full name; "" where there are no messages
	key      string // path of names, for the inode number
	children map[string]*directory
}

// names returns the children's names, sorted.
func (d *directory) names() []string {
	return slices.Sorted(maps.Keys(d.children))
}

// level is a directory under construction, its children still by their names
// on the server.
type level struct {
	selectable bool
	name       string
	children   map[string]*level
}

func (l *level) child(component string) *level {
	c := l.children[component]
	if c == nil {
		c = &level{children: make(map[string]*level)}
		l.children[component] = c
	}
	return c
}

// buildTree puts the mailboxes into the tree that their hierarchy delimiters
// make. With base, it is the tree below that mailbox.
func buildTree(folders []mail.Folder, base string) (*directory, error) {
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
		if f.Selectable || !l.selectable { // some servers list a folder twice, with and without a delimiter
			l.selectable, l.name = f.Selectable, f.Name
		}
	}
	if base != "" && top == root {
		return nil, fmt.Errorf("there is no folder %q on the server; mount without a folder to see which there are", base)
	}
	return top.directory(""), nil
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

func (l *level) directory(key string) *directory {
	d := &directory{key: key, children: make(map[string]*directory)}
	if l.selectable {
		d.mailbox = l.name
	}
	for component, c := range l.children {
		name := mail.FolderName(component, l.selectable)
		d.children[name] = c.directory(key + "\x00" + name)
	}
	return d
}

// at returns the directory at a path of names, nil if there is none.
func (d *directory) at(path []string) *directory {
	for _, name := range path {
		if d == nil {
			return nil
		}
		d = d.children[name]
	}
	return d
}

// find returns the path of names that leads to a mailbox.
func (d *directory) find(mailbox string) ([]string, bool) {
	if d.mailbox == mailbox {
		return nil, true
	}
	for name, c := range d.children {
		if path, ok := c.find(mailbox); ok {
			return append([]string{name}, path...), true
		}
	}
	return nil, false
}

// directory returns what the tree has at path now.
func (fsys *FS) directory(path []string) *directory {
	fsys.mu.Lock()
	defer fsys.mu.Unlock()
	return fsys.tree.at(path)
}
