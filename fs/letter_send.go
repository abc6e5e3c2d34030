package fs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"

	"imapfs/mail"
)

var (
	errKilled = errors.New("the program that wrote it was killed")
	errEnded  = errors.New("the mount has ended")
)

// Flush implements gofs.NodeFlusher: a process closes a descriptor. If it is the writer
// the letter is sent, unless that was done already, and the answer is the server's.
func (n *letterNode) Flush(ctx context.Context, f gofs.FileHandle) syscall.Errno {
	h, l := n.handle(f), n.letter
	if !h.writes {
		return 0
	}
	l.fsys.letters.mu.Lock()
	w := h.writer
	l.fsys.letters.mu.Unlock()
	end := w.ends(ctx, l.number.Ino)
	if end == passed {
		return 0
	}
	if others := l.closed(h, end); others {
		return 0 // who closes it last sends it
	}
	if !l.fsys.letters.begin() {
		return l.errno("put the file", l.String(), errEnded)
	}
	defer l.fsys.letters.sends.Done()
	return l.put(ctx)
}

// closed notes that the writer of a handle has closed it, and tells whether there are
// others who have not.
func (l *letter) closed(h *letterHandle, end ending) (others bool) {
	l.fsys.letters.mu.Lock()
	defer l.fsys.letters.mu.Unlock()
	if h.unfinished {
		h.unfinished = false
		l.unfinished--
		// A half file must not become a message.
		if end == killed && l.changes != l.answered && fateOf(l.at.name) == toSend {
			l.abandoned = true
		}
	}
	return l.unfinished > 0
}

// Release implements gofs.NodeReleaser. What was not sent for a FLUSH, because not the
// writer closed it last, is sent now; nobody waits for it.
func (n *letterNode) Release(_ context.Context, f gofs.FileHandle) syscall.Errno {
	h, l := n.handle(f), n.letter
	others := l.closed(h, finished)
	ls := &l.fsys.letters
	ls.mu.Lock()
	send := !others && h.writes && l.changes != l.answered
	ls.mu.Unlock()
	released := func() { l.handles-- }
	if !send || !ls.begin() {
		l.update(released)
		return 0
	}
	go func() {
		defer ls.sends.Done()
		l.put(context.Background())
		l.update(released)
	}()
	return 0
}

// begin has close wait until sends.Done is called, if it is not too late for that.
func (ls *letters) begin() bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if !ls.closed {
		ls.sends.Add(1)
	}
	return !ls.closed
}

// put finishes the letter, and says what has become of it.
func (l *letter) put(ctx context.Context) syscall.Errno {
	err := l.finish(ctx)
	return l.errno("put the file", l.String(), err)
}

// finish is what becomes of the letter now that its writer has closed it.
func (l *letter) finish(ctx context.Context) error {
	if err := l.take(ctx); err != nil {
		return err
	}
	l.fsys.letters.mu.Lock()
	done, err := l.decided()
	at := l.at
	l.fsys.letters.mu.Unlock()
	if done {
		l.give(func() {})
		return err
	}
	return l.send(ctx, at.mailbox)
}

// decided tells whether it is known already what becomes of the content. The caller
// holds letters.mu and the turn.
func (l *letter) decided() (bool, error) {
	switch {
	case l.removed, l.changes == 0, fateOf(l.at.name) == toKeep:
		return true, nil
	case l.changes == l.answered:
		return true, l.answer
	case l.abandoned:
		l.answered, l.answer = l.changes, errKilled
	case l.broken != nil:
		l.answered, l.answer = l.changes, l.broken
	case fateOf(l.at.name) == toRefuse:
		l.answered, l.answer = l.changes, errName
	default:
		return false, nil
	}
	return true, l.answer
}

// send has the server take the content, and gives the turn back when it has said what
// becomes of it. It may take as long as it needs; if an interrupt ends ctx it goes on, and
// who asks next gets the answer. The caller has begun.
func (l *letter) send(ctx context.Context, mailbox string) error {
	l.fsys.letters.sends.Add(1)
	return change(ctx, func() error {
		defer l.fsys.letters.sends.Done()
		return l.sendNow(mailbox)
	})
}

// sendNow sends the content, in the place of an earlier one that was sent, and gives
// the turn back.
func (l *letter) sendNow(mailbox string) error {
	id, err := l.deliver(mailbox)
	earlier := l.sent
	if err == nil && earlier != nil {
		l.discard(*earlier)
	}
	l.give(func() {
		l.answered, l.answer = l.changes, err
		if err == nil {
			l.sent = &id
		}
	})
	if err != nil {
		return err
	}
	l.fsys.log.Info("put", "folder", l.fsys.shown(mailbox), "uid", id.UID)
	l.fsys.came(mailbox, id)
	return nil
}

// came tells the kernel that a message has come from here, and that what it was is not
// listed any more.
func (fsys *FS) came(mailbox string, id mail.ID) {
	if id.UID != 0 {
		fsys.Changed(mail.Change{Folder: id.Folder, UIDValidity: id.UIDValidity, Added: []uint32{id.UID}})
		return
	}
	fsys.notes.add(func() {
		if folder := fsys.inodeOf(mailbox); folder != nil {
			folder.NotifyContent(0, 0)
		}
	})
}

// discard deletes the message that an earlier content has become: its writer had not
// written all of it then, though it looked so.
func (l *letter) discard(id mail.ID) {
	err := errors.New("the server did not tell its UID")
	if id.UID != 0 {
		err = l.fsys.mail.Discard(context.Background(), id)
	}
	if err != nil {
		l.fsys.log.Warn("a message was put twice, first without its end", "folder", l.fsys.shown(id.Folder), "uid", id.UID, "error", err)
		return
	}
	l.fsys.Changed(mail.Change{Folder: id.Folder, UIDValidity: id.UIDValidity, Removed: []uint32{id.UID}})
}

// deliver has the server take the content. It waits for as long as that takes: a
// server that says nothing any more is given up elsewhere.
func (l *letter) deliver(mailbox string) (mail.ID, error) {
	ctx := context.Background()
	l.fsys.letters.mu.Lock()
	source, copied := l.source, l.copied
	var date time.Time
	if l.dated {
		date = l.date
	}
	l.fsys.letters.mu.Unlock()
	if source != nil {
		same, err := source.isCopy(ctx, copied, date)
		if err != nil {
			return mail.ID{}, err
		}
		if same {
			id, err := l.fsys.mail.Copy(ctx, source.message.content.ID(), mailbox)
			if !errors.Is(err, mail.ErrRefused) || errors.Is(err, mail.ErrNoRoom) || errors.Is(err, mail.ErrTooLarge) {
				return id, err
			}
			// Some do not copy within a mailbox, or not to every one.
			l.fsys.log.Info("the server does not copy a message, so it is sent", "folder", l.fsys.shown(mailbox), "error", err)
		}
	}
	if err := l.fetchCopied(ctx); err != nil {
		return mail.ID{}, err
	}
	if err := checkMessage(&l.spool); err != nil {
		return mail.ID{}, err
	}
	return l.fsys.mail.Append(ctx, mailbox, mail.Letter{Content: &l.spool, Size: l.spool.size(), Date: date})
}

// checkMessage tells what has no header from a message.
func checkMessage(r io.ReaderAt) error {
	head := make([]byte, 4<<10)
	count, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return err
	}
	if !beginsWithHeader(head[:count]) {
		return errHeader
	}
	return nil
}

// beginsWithHeader tells whether the first line is a header field (RFC 5322 §2.2),
// also behind the line before which mbox files have each message.
func beginsWithHeader(b []byte) bool {
	if line, rest, _ := bytes.Cut(b, []byte("\n")); bytes.HasPrefix(bytes.TrimPrefix(line, []byte(">")), []byte("From ")) {
		b = rest
	}
	name, _, found := bytes.Cut(b, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	return found && len(name) > 0 && bytes.IndexFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// moveTo renames the letter to name in the folder that to shows. What becomes a message
// by that is sent, unless somebody still writes it: rename says then what the server
// said, and if that refuses all is as before.
func (n *letterNode) moveTo(ctx context.Context, to *folderNode, name string) syscall.Errno {
	l := n.letter
	at, err := to.takes(name)
	ls := &l.fsys.letters
	if err == nil && !ls.begin() {
		err = errEnded
	}
	if err != nil {
		return l.errno("rename the file", l.String()+" to "+to.pathOf(name), err)
	}
	defer ls.sends.Done()
	if err := l.become(ctx, at); err != nil {
		return l.errno("rename the file", l.String()+" to "+to.pathOf(name), err)
	}
	ls.mu.Lock()
	var free []*letter
	if !l.gone {
		free = append(ls.put(l, at), ls.settle(l)...)
	}
	ls.mu.Unlock()
	release(free)
	return 0
}

// become has the content sent if its name becomes that of a message.
func (l *letter) become(ctx context.Context, at named) error {
	if err := l.take(ctx); err != nil {
		return err
	}
	l.fsys.letters.mu.Lock()
	written := l.changes > 0 && l.unfinished == 0
	gone, isSent, broken, was := l.gone, l.isSent(), l.broken, l.at
	l.fsys.letters.mu.Unlock()
	fate := fateOf(at.name)
	var err error
	switch {
	case gone:
		err = mail.ErrNotFound
	case isSent && at.mailbox != was.mailbox:
		err = errSent
	case isSent, !written, fate == toKeep:
	case fate == toRefuse:
		err = errName
	case broken != nil:
		err = broken
	default:
		return l.send(ctx, at.mailbox)
	}
	l.give(func() {})
	return err
}
