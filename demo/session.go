package demo

import (
	"bufio"
	"bytes"
	"crypto/subtle"
	"io"
	"maps"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-message/textproto"
)

var _ = (imapserver.SessionIMAP4rev2)((*session)(nil))

// session is one connection. imapserver calls its methods one at a time, and
// only those which the state of the connection allows.
type session struct {
	acct *account
	view *view // the selected mailbox, or nil
}

func (s *session) Login(user, password string) error {
	sameUser := subtle.ConstantTimeCompare([]byte(user), []byte(s.acct.user))
	samePassword := subtle.ConstantTimeCompare([]byte(password), []byte(s.acct.password))
	if sameUser&samePassword != 1 {
		return imapserver.ErrAuthFailed
	}
	return nil
}

func (s *session) Close() error {
	// The field stays: an IDLE that is just ending may still look at it.
	if s.view != nil {
		s.view.close()
	}
	return nil
}

// Mailboxes.

func (s *session) Namespace() (*imap.NamespaceData, error) {
	delim := []rune(s.acct.delim)[0]
	return &imap.NamespaceData{Personal: []imap.NamespaceDescriptor{{Delim: delim}}}, nil
}

func (s *session) List(w *imapserver.ListWriter, ref string, patterns []string, options *imap.ListOptions) error {
	delim := []rune(s.acct.delim)[0]
	if len(patterns) == 0 { // the client asks for the delimiter (RFC 9051 §6.3.9)
		return w.WriteList(&imap.ListData{Attrs: []imap.MailboxAttr{imap.MailboxAttrNoSelect}, Delim: delim})
	}
	var list []imap.ListData
	s.acct.mu.Lock()
	for name, mbox := range s.acct.boxes {
		match := func(pattern string) bool { return imapserver.MatchList(name, delim, ref, pattern) }
		if !slices.ContainsFunc(patterns, match) ||
			options.SelectSubscribed && !mbox.subscribed ||
			options.SelectSpecialUse && mbox.specialUse == "" {
			continue
		}
		list = append(list, s.acct.listDataLocked(mbox, delim, options))
	}
	s.acct.mu.Unlock()

	slices.SortFunc(list, func(a, b imap.ListData) int { return strings.Compare(a.Mailbox, b.Mailbox) })
	for i := range list {
		if err := w.WriteList(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

func (a *account) listDataLocked(mbox *mailbox, delim rune, options *imap.ListOptions) imap.ListData {
	data := imap.ListData{Mailbox: mbox.name, Delim: delim}
	if a.hasChildrenLocked(mbox.name) {
		data.Attrs = append(data.Attrs, imap.MailboxAttrHasChildren)
	} else {
		data.Attrs = append(data.Attrs, imap.MailboxAttrHasNoChildren)
	}
	if mbox.noSelect {
		data.Attrs = append(data.Attrs, imap.MailboxAttrNoSelect)
	}
	if mbox.subscribed && (options.ReturnSubscribed || options.SelectSubscribed) {
		data.Attrs = append(data.Attrs, imap.MailboxAttrSubscribed)
	}
	if mbox.specialUse != "" && a.caps.Has(imap.CapSpecialUse) {
		data.Attrs = append(data.Attrs, mbox.specialUse)
	}
	if options.ReturnStatus != nil && !mbox.noSelect {
		data.Status = mbox.status(mbox.name, options.ReturnStatus)
	}
	return data
}

func (s *session) Status(name string, options *imap.StatusOptions) (*imap.StatusData, error) {
	mbox, err := s.acct.get(name)
	if err != nil {
		return nil, err
	}
	return mbox.status(name, options), nil
}

func (mbox *mailbox) status(name string, options *imap.StatusOptions) *imap.StatusData {
	mbox.mu.Lock()
	defer mbox.mu.Unlock()
	data := &imap.StatusData{Mailbox: name}
	count := uint32(len(mbox.msgs))
	if options.NumMessages {
		data.NumMessages = &count
	}
	if options.NumRecent {
		data.NumRecent = new(uint32)
	}
	if options.UIDNext {
		data.UIDNext = mbox.uidNext
	}
	if options.UIDValidity {
		data.UIDValidity = mbox.uidValidity
	}
	if options.NumUnseen {
		n := count - mbox.countFlagLocked(imap.FlagSeen)
		data.NumUnseen = &n
	}
	if options.NumDeleted {
		n := mbox.countFlagLocked(imap.FlagDeleted)
		data.NumDeleted = &n
	}
	if options.Size {
		var n int64
		for _, msg := range mbox.msgs {
			n += int64(len(msg.raw))
		}
		data.Size = &n
	}
	return data
}

func (s *session) Create(name string, _ *imap.CreateOptions) error {
	s.acct.mu.Lock()
	defer s.acct.mu.Unlock()
	_, err := s.acct.createLocked(strings.TrimSuffix(name, s.acct.delim))
	return err
}

// Delete removes a mailbox. It and its messages live on for the sessions that
// have it selected.
func (s *session) Delete(name string) error {
	s.acct.mu.Lock()
	defer s.acct.mu.Unlock()
	mbox := s.acct.boxes[name]
	switch {
	case name == "INBOX":
		return errInbox
	case mbox == nil || mbox.noSelect:
		return errNoMailbox
	}
	if s.acct.hasChildrenLocked(name) {
		s.acct.addLocked(name).noSelect = true
	} else {
		delete(s.acct.boxes, name)
	}
	return nil
}

// Rename moves a mailbox and all below it (RFC 9051 §6.3.6).
func (s *session) Rename(oldName, newName string, _ *imap.RenameOptions) error {
	a := s.acct
	a.mu.Lock()
	defer a.mu.Unlock()
	newName = strings.TrimSuffix(newName, a.delim)
	switch {
	case oldName == "INBOX":
		return errInbox
	case a.boxes[oldName] == nil:
		return errNoMailbox
	case a.boxes[newName] != nil:
		return errExists
	case strings.HasPrefix(newName, oldName+a.delim):
		return errBadName
	}
	if _, err := a.createLocked(newName); err != nil { // for the names above it
		return err
	}
	move := make(map[string]*mailbox)
	for name, mbox := range a.boxes {
		if name == oldName || strings.HasPrefix(name, oldName+a.delim) {
			mbox.name = newName + strings.TrimPrefix(name, oldName)
			move[mbox.name] = mbox
			delete(a.boxes, name)
		}
	}
	maps.Copy(a.boxes, move)
	return nil
}

func (s *session) Subscribe(name string) error   { return s.subscribe(name, true) }
func (s *session) Unsubscribe(name string) error { return s.subscribe(name, false) }

func (s *session) subscribe(name string, on bool) error {
	s.acct.mu.Lock()
	defer s.acct.mu.Unlock()
	mbox := s.acct.boxes[name]
	switch {
	case mbox == nil && on:
		return errNoMailbox
	case mbox == nil:
		return nil // it is not, by now
	}
	mbox.subscribed = on
	return nil
}

func (s *session) Append(name string, r imap.LiteralReader, options *imap.AppendOptions) (*imap.AppendData, error) {
	raw := make([]byte, r.Size())
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, err
	}
	mbox, err := s.acct.get(name)
	if err != nil {
		return nil, errTryCreate
	}
	return &imap.AppendData{
		UID:         mbox.append(raw, options.Time, options.Flags),
		UIDValidity: mbox.uidValidity,
	}, nil
}

// The selected mailbox.

func (s *session) Select(name string, options *imap.SelectOptions) (*imap.SelectData, error) {
	mbox, err := s.acct.get(name)
	if err != nil {
		return nil, err
	}
	s.view = mbox.open(options.ReadOnly)

	mbox.mu.Lock()
	defer mbox.mu.Unlock()
	data := &imap.SelectData{
		Flags:       mbox.flagsLocked(),
		NumMessages: uint32(len(mbox.msgs)),
		UIDNext:     mbox.uidNext,
		UIDValidity: mbox.uidValidity,
	}
	if !options.ReadOnly {
		data.PermanentFlags = append(slices.Clone(data.Flags), imap.FlagWildcard)
	}
	if i := slices.IndexFunc(mbox.msgs, func(m *message) bool { return !m.has(imap.FlagSeen) }); i >= 0 {
		data.FirstUnseenSeqNum = uint32(i) + 1
	}
	return data, nil
}

func (s *session) Unselect() error {
	s.view.close()
	s.view = nil
	return nil
}

func (s *session) Poll(w *imapserver.UpdateWriter, allowExpunge bool) error {
	if s.view == nil {
		return nil
	}
	return s.view.tracker.Poll(w, allowExpunge)
}

// Idle sends what changes until the client is done. (The Idle of imapserver's
// tracker would keep back what was queued before it began.)
func (s *session) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	v := s.view
	if v == nil {
		<-stop
		return nil
	}
	for {
		if err := v.tracker.Poll(w, true); err != nil {
			return err
		}
		select {
		case <-v.changed:
		case <-stop:
			return nil
		}
	}
}

// Fetch sends messages or pieces of them. Nothing is locked while it writes, so
// that a client that does not read holds up nobody else.
func (s *session) Fetch(w *imapserver.FetchWriter, numSet imap.NumSet, options *imap.FetchOptions) error {
	if len(options.BinarySection)+len(options.BinarySectionSize) > 0 {
		return errNotOffered
	}
	markSeen := !s.view.readOnly &&
		slices.ContainsFunc(options.BodySection, func(item *imap.FetchItemBodySection) bool { return !item.Peek })
	list := s.view.find(numSet, func(index uint32, msg *message) {
		if markSeen && !msg.has(imap.FlagSeen) {
			msg.store(imap.StoreFlagsAdd, []imap.Flag{imap.FlagSeen})
			s.view.mailbox.tracker.QueueMessageFlags(index+1, msg.uid, msg.flagList(), nil)
			s.view.wakeLocked()
		}
	})
	for _, f := range list {
		if err := f.msg.fetch(w.CreateMessage(f.seqNum), f.flags, options); err != nil {
			return err
		}
	}
	return nil
}

func (msg *message) fetch(w *imapserver.FetchResponseWriter, flags []imap.Flag, options *imap.FetchOptions) error {
	w.WriteUID(msg.uid)
	if options.Flags {
		w.WriteFlags(flags)
	}
	if options.InternalDate {
		w.WriteInternalDate(msg.date)
	}
	if options.RFC822Size {
		w.WriteRFC822Size(int64(len(msg.raw)))
	}
	if options.Envelope {
		w.WriteEnvelope(envelope(msg.root().header))
	}
	if options.BodyStructure != nil {
		w.WriteBodyStructure(msg.root().bodyStructure())
	}
	for _, item := range options.BodySection {
		data := msg.section(item)
		lit := w.WriteBodySection(item, int64(len(data)))
		_, err := lit.Write(data)
		if closeErr := lit.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			w.Close() // gives the connection free; its write has failed already
			return err
		}
	}
	return w.Close()
}

// envelope is what ENVELOPE tells, from as much of a header as can be read.
func envelope(header []byte) *imap.Envelope {
	h, _ := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(header)))
	return imapserver.ExtractEnvelope(h)
}

func (s *session) Store(w *imapserver.FetchWriter, numSet imap.NumSet, flags *imap.StoreFlags, _ *imap.StoreOptions) error {
	if s.view.readOnly {
		return errReadOnly
	}
	s.view.mu.Lock()
	s.view.eachLocked(numSet, func(_, index uint32, msg *message) {
		msg.store(flags.Op, flags.Flags)
		// This session learns of it in the response below, if it wants to.
		s.view.mailbox.tracker.QueueMessageFlags(index+1, msg.uid, msg.flagList(), s.view.tracker)
	})
	s.view.wakeLocked()
	s.view.mu.Unlock()
	if flags.Silent {
		return nil
	}
	return s.Fetch(w, numSet, &imap.FetchOptions{Flags: true})
}

// Expunge removes the messages with \Deleted, among uids if that is given. The
// EXPUNGE responses come with the next Poll, at the end of the command.
func (s *session) Expunge(_ *imapserver.ExpungeWriter, uids *imap.UIDSet) error {
	if s.view.readOnly {
		return errReadOnly
	}
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	var among imap.UIDSet
	if uids != nil {
		// imapserver takes UID EXPUNGE without looking whether it was offered.
		if !s.acct.caps.Has(imap.CapUIDPlus) && !s.acct.caps.Has(imap.CapIMAP4rev2) {
			return errNotOffered
		}
		among = s.view.resolveLocked(*uids).(imap.UIDSet)
	}
	s.view.expungeLocked(func(msg *message) bool {
		return msg.has(imap.FlagDeleted) && (uids == nil || among.Contains(msg.uid))
	})
	return nil
}

func (s *session) Copy(numSet imap.NumSet, destName string) (*imap.CopyData, error) {
	dest, err := s.acct.get(destName)
	if err != nil {
		return nil, errTryCreate
	}
	if dest == s.view.mailbox {
		return nil, errSame
	}
	list := s.view.find(numSet, func(uint32, *message) {})
	if len(list) == 0 {
		return nil, nil
	}
	data := &imap.CopyData{UIDValidity: dest.uidValidity}
	for _, c := range list {
		data.SourceUIDs.AddNum(c.msg.uid)
		data.DestUIDs.AddNum(dest.append(c.msg.raw, c.msg.date, c.flags))
	}
	return data, nil
}

func (s *session) Move(w *imapserver.MoveWriter, numSet imap.NumSet, destName string) error {
	switch {
	case !s.acct.caps.Has(imap.CapMove) && !s.acct.caps.Has(imap.CapIMAP4rev2):
		return errNotOffered
	case s.view.readOnly:
		return errReadOnly
	}
	data, err := s.Copy(numSet, destName)
	if err != nil || data == nil {
		return err
	}
	if err := w.WriteCopyData(data); err != nil {
		return err
	}
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	s.view.expungeLocked(func(msg *message) bool { return data.SourceUIDs.Contains(msg.uid) })
	return nil
}

// sentDate is the day of the Date field, or zero.
func (msg *message) sentDate() time.Time {
	date, _ := mail.ParseDate(fieldValue(msg.root().header, "Date"))
	return date
}
