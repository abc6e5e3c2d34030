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
	mail.Folder // what the server lists; only Delim for a level that it does not

	Path     string             // its full name on the server, "" for the root of all
	Key      string             // of it alone, also when it is renamed: names from the root, when it came
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
	keyed map[string]*Folder  // by Key
	used  map[string]bool     // the Keys that there were so far
}

// New returns the tree of mailboxes that their hierarchy delimiters make. With
// base, it is the tree below that mailbox, and an error if that is not there.
func New(folders []mail.Folder, base string) (*Tree, error) {
	t := &Tree{base: base, used: make(map[string]bool)}
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
	t.mu.Lock()
	defer t.mu.Unlock()
	t.giveKeys(now)
	t.paths, t.keyed = make(map[string][]string), make(map[string]*Folder)
	now.each(nil, func(path []string, f *Folder) {
		t.used[f.Key], t.keyed[f.Key] = true, f
		if f.Mailbox() != "" {
			t.paths[f.Mailbox()] = path
		}
	})
	before, t.root = t.root, now
	return before, now, nil
}

// each calls f for the folder and all below it, a folder before those in it.
func (f *Folder) each(path []string, call func(path []string, f *Folder)) {
	call(path, f)
	for _, name := range f.Names() {
		f.Children[name].each(append(slices.Clip(path), name), call)
	}
}

// giveKeys gives the folders of a new tree their Keys: those that they had, wherever
// they are now, and one that nobody had to what has come in the place of another one.
// It is called with t.mu held.
func (t *Tree) giveKeys(now *Folder) {
	had := make(map[string][]string)    // paths, by mail.Folder.Name
	before := make(map[string]*Folder)  // by path
	there := make(map[string]bool)      // paths, now
	origin := make(map[string][]string) // of levels, by path
	if t.root != nil {
		t.root.each(nil, func(path []string, f *Folder) {
			before[key(path)] = f
			if f.Name != "" {
				had[f.Name] = path
			}
		})
	}
	now.each(nil, func(path []string, f *Folder) {
		there[key(path)] = true
		if old, ok := had[f.Name]; ok {
			noteOrigins(origin, path, old)
		}
	})
	taken := make(map[string]bool)
	take := func(f *Folder, from []string) {
		if old := before[key(from)]; old != nil && !taken[old.Key] {
			f.Key, taken[old.Key] = old.Key, true
		}
	}
	now.each(nil, func(path []string, f *Folder) {
		if f.Key = noKey; f.Name != "" {
			if old, ok := had[f.Name]; ok {
				take(f, old)
			}
		}
	})
	now.each(nil, func(path []string, f *Folder) {
		if from, ok := origin[key(path)]; ok && f.Key == noKey && (!there[key(from)] || slices.Equal(from, path)) {
			take(f, from)
		}
	})
	now.each(nil, func(path []string, f *Folder) {
		if f.Key == noKey {
			take(f, path)
		}
		for k, n := key(path), 1; f.Key == noKey; n++ {
			if !t.used[k] && !taken[k] {
				f.Key, taken[k] = k, true
			}
			k = fmt.Sprintf("%s%s%d", key(path), noKey, n)
		}
	})
}

// noteOrigins notes of the levels above a mailbox, which has come to path, where they
// were when it was at old: if it is any of what is in a level that has stayed, there.
func noteOrigins(origin map[string][]string, path, old []string) {
	for n := 1; n < len(path) && n < len(old) && path[len(path)-n] == old[len(old)-n]; n++ {
		level := path[:len(path)-n]
		if from := old[:len(old)-n]; origin[key(level)] == nil || slices.Equal(from, level) {
			origin[key(level)] = from
		}
	}
}

// noKey is in a Folder that has none yet. The root's is "".
const noKey = "\x00\x00"

func key(path []string) string {
	var b strings.Builder
	for _, name := range path {
		b.WriteString("\x00" + name)
	}
	return b.String()
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

// Keyed returns the folder with a Key, nil if there is none.
func (t *Tree) Keyed(key string) *Folder {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.keyed[key]
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
	path     string // on the server
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
		if f.Name == inbox || l.listed.Delim == 0 {
			l.listed.Delim = f.Delim // with which folders are made there
		}
		components := []string{f.FullName()}
		if f.Delim != 0 {
			// A trailing delimiter, as some servers list a \Noselect parent,
			// makes no level of its own.
			components = strings.Split(strings.TrimSuffix(f.FullName(), string(f.Delim)), string(f.Delim))
		}
		for i, c := range components {
			l = l.child(c)
			l.path = strings.Join(components[:i+1], string(f.Delim))
			if l.listed.Delim == 0 {
				l.listed.Delim = f.Delim
			}
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
	return top.folder(), nil
}

const inbox = "INBOX"

// isBase says whether base names the folder with these components. INBOX is the
// same in any case (RFC 9051 §5.1).
func isBase(components []string, delim, base string) bool {
	if components[0] == inbox && len(base) >= len(inbox) && strings.EqualFold(base[:len(inbox)], inbox) {
		base = inbox + base[len(inbox):]
	}
	return strings.Join(components, delim) == base
}

func (l *level) folder() *Folder {
	f := &Folder{Folder: l.listed, Path: l.path, Children: make(map[string]*Folder)}
	for component, c := range l.children {
		f.Children[mail.FolderName(component, l.listed.Selectable)] = c.folder()
	}
	return f
}
