package fs

import (
	"context"
	"slices"
	"sync"
	"time"

	"imapfs/tree"
)

// dates is when the newest messages of folders have come into which nobody has looked. ls -l of
// a folder with many in it asks for each alone, and to list each would take long: so they
// are all asked for when the first one is.
type dates struct {
	mu    sync.Mutex // guards what follows
	of    map[string]dated
	until time.Time // each is asked for alone, because asking for all has failed
}

type dated struct {
	date time.Time // zero: the folder has no message, or nobody can look into it
	at   time.Time
}

// datesKept is how long they are believed: nobody is told of what comes to such a folder.
const datesKept = time.Minute

// aloneFor is how long each is asked for alone where asking for all has failed.
const aloneFor = 10 * time.Minute

// lookedAround is how long after a listing who looks at one folder is taken for somebody who
// looks at all.
const lookedAround = 5 * time.Second

func (d *dates) find(mailbox string) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found, ok := d.of[mailbox]
	return found.date, ok && time.Since(found.at) < datesKept
}

func (d *dates) keep(mailboxes []string, found map[string]time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = make(map[string]dated)
	}
	for _, mailbox := range mailboxes {
		d.of[mailbox] = dated{found[mailbox], time.Now()}
	}
}

// fail notes that they could not be had all at once.
func (d *dates) fail() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.until = time.Now().Add(aloneFor)
}

func (d *dates) fails() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Before(d.until)
}

// forget is told that something has changed in a folder.
func (d *dates) forget(mailbox string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.of, mailbox)
}

// listed notes that somebody has listed the folder.
func (n *folderNode) listed() { n.listedAt.Store(time.Now().UnixNano()) }

// looksAround tells whether somebody who looks at a folder in n is about to look at all.
func (n *folderNode) looksAround() bool {
	if time.Since(time.Unix(0, n.listedAt.Load())) < lookedAround {
		n.around.Store(true) // from then on: the kernel keeps the listing
	}
	return n.around.Load()
}

// dateAmong returns the date of the newest message of the folder f in n, and asks for that of
// the others along. ok is false if it is to be asked for alone.
func (n *folderNode) dateAmong(ctx context.Context, f *tree.Folder) (date time.Time, ok bool) {
	fsys := n.fsys
	if date, ok = fsys.dates.find(f.Mailbox()); ok {
		return date, true
	}
	above := n.now()
	if above == nil || !n.looksAround() || fsys.dates.fails() {
		return time.Time{}, false
	}
	var unknown []string
	for _, name := range above.Names() {
		mailbox := above.Children[name].Mailbox()
		if mailbox == "" {
			continue
		}
		_, known := fsys.mail.Newest(mailbox)
		if _, kept := fsys.dates.find(mailbox); !known && !kept {
			unknown = append(unknown, mailbox)
		}
	}
	if len(unknown) < 2 || !slices.Contains(unknown, f.Mailbox()) {
		return time.Time{}, false
	}
	// It goes on when nobody waits any more, for whoever asks again.
	err := change(ctx, func() error {
		found, err := fsys.mail.Dates(context.Background(), unknown)
		if err == nil {
			fsys.dates.keep(unknown, found)
		}
		return err
	})
	if err != nil {
		fsys.dates.fail() // also where it takes too long
		fsys.log.Info("cannot look into the folders all at once", "folder", n.shown(), "error", err)
		return time.Time{}, false
	}
	return fsys.dates.find(f.Mailbox())
}

// listAround lists the messages of the folders beside f too, where somebody who looks around lists one
// after the other: file managers count what is in each folder.
func (n *folderNode) listAround(ctx context.Context, f *tree.Folder) {
	fsys, above := n.fsys, n.parent()
	if f.Mailbox() == "" || above == nil || fsys.mail.IsListed(f.Mailbox()) || !above.looksAround() || !above.entered.Swap(true) || fsys.dates.fails() {
		return
	}
	beside := above.now()
	if beside == nil {
		return
	}
	var unlisted []string
	for _, name := range beside.Names() {
		if mailbox := beside.Children[name].Mailbox(); mailbox != "" && !fsys.mail.IsListed(mailbox) {
			unlisted = append(unlisted, mailbox)
		}
	}
	if len(unlisted) < 2 {
		return
	}
	ctx, finish := fsys.call(ctx)
	defer finish()
	// It goes on when nobody waits any more.
	err := change(ctx, func() error { return fsys.mail.ListEach(context.Background(), unlisted) })
	if err != nil {
		fsys.dates.fail()
		fsys.log.Info("cannot list the folders all at once", "folder", above.shown(), "error", err)
	}
}

// parent returns the folder in which n is, nil for none.
func (n *folderNode) parent() *folderNode {
	_, inode := n.Parent()
	if inode == nil {
		return nil
	}
	above, _ := inode.Operations().(*folderNode)
	return above
}
