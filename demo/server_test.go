package demo

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

func TestLogin(t *testing.T) {
	s := start(t, Options{})
	other := start(t, Options{})
	if s.Password == other.Password || len(s.Password) < 20 {
		t.Errorf("passwords %q and %q are not random", s.Password, other.Password)
	}
	if host, _, _ := net.SplitHostPort(s.Addr); host != "127.0.0.1" {
		t.Errorf("listens on %s", s.Addr)
	}
	c, err := imapclient.DialInsecure(s.Addr, nil)
	check(t, err)
	defer c.Close()
	for _, login := range [][2]string{{s.User, other.Password}, {"root", s.Password}, {s.User, ""}} {
		if err := c.Login(login[0], login[1]).Wait(); !hasCode(err, imap.ResponseCodeAuthenticationFailed) {
			t.Errorf("login with a wrong name or password: %v", err)
		}
	}
	check(t, c.Login(s.User, s.Password).Wait())
}

func hasCode(err error, code imap.ResponseCode) bool {
	imapErr, ok := errors.AsType[*imap.Error](err)
	return ok && imapErr.Code == code
}

func TestCapabilities(t *testing.T) {
	caps := func(s *Server) imap.CapSet {
		got, err := dial(t, s, nil).Capability().Wait()
		check(t, err)
		return got
	}
	got := caps(start(t, Options{}))
	for c := range DefaultCaps() {
		if !got.Has(c) {
			t.Errorf("%s is not announced", c)
		}
	}
	if got := caps(start(t, Options{Caps: imap.CapSet{imap.CapIMAP4rev1: {}}})); got.Has(imap.CapUIDPlus) || got.Has(imap.CapESearch) {
		t.Errorf("announces what it was told not to: %v", got)
	}
	if _, err := StartWith(Options{Caps: imap.CapSet{imap.CapUIDPlus: {}}}); err == nil {
		t.Error("a server without IMAP4rev1 and IMAP4rev2 has started")
	}
}

func TestWithoutUIDPlus(t *testing.T) {
	s := start(t, Options{Caps: imap.CapSet{imap.CapIMAP4rev1: {}}})
	check(t, s.Append("INBOX", []byte("Subject: one\n\n"), time.Time{}, imap.FlagDeleted))
	c := dial(t, s, nil)
	selectBox(t, c, "INBOX")
	if err := c.UIDExpunge(imap.UIDSetNum(1)).Close(); err == nil {
		t.Error("UID EXPUNGE works without UIDPLUS")
	}
	if n := len(fetch(t, c, allUIDs, &imap.FetchOptions{UID: true})); n != 1 {
		t.Errorf("%d messages left, want 1", n)
	}
}

func TestAppend(t *testing.T) {
	s := start(t, Options{})
	date := time.Date(2024, 2, 29, 12, 0, 1, 0, time.FixedZone("", -3600))
	check(t, s.Append("A/B", []byte("Subject: x\n\nmixed\r\nends\n"), date, imap.FlagSeen, "$Label"))
	if err := s.Append("A//B", nil, date); err == nil {
		t.Error("a mailbox name with an empty level is taken")
	}
	c := dial(t, s, nil)
	selectBox(t, c, "A/B")
	msg := fetch(t, c, allUIDs, &imap.FetchOptions{InternalDate: true, RFC822Size: true, Flags: true})[0]
	if !msg.InternalDate.Equal(date) {
		t.Errorf("INTERNALDATE %v, want %v", msg.InternalDate, date)
	}
	if want := []imap.Flag{"$label", imap.FlagSeen}; !slices.Equal(msg.Flags, want) {
		t.Errorf("flags %v, want %v", msg.Flags, want)
	}
	const want = "Subject: x\r\n\r\nmixed\r\nends\r\n"
	if got := body(t, c, 1, imap.FetchItemBodySection{}); got != want || msg.RFC822Size != int64(len(want)) {
		t.Errorf("message is %q (RFC822.SIZE %d), want %q", got, msg.RFC822Size, want)
	}
}

func TestList(t *testing.T) {
	for _, delim := range []rune{'/', '.'} {
		s := start(t, Options{Delim: delim})
		d := string(delim)
		for _, name := range []string{"Trash", "Top" + d + "Größe & Maße", "Top" + d + "Mid" + d + "日本", "100%"} {
			check(t, s.Append(name, []byte("\n\n"), time.Time{}))
		}
		c := dial(t, s, nil)
		list, err := c.List("", "*", nil).Collect()
		check(t, err)
		got := make(map[string]string)
		for _, data := range list {
			if data.Delim != delim {
				t.Errorf("%s: delimiter %q, want %q", data.Mailbox, data.Delim, delim)
			}
			attrs := slices.DeleteFunc(data.Attrs, func(a imap.MailboxAttr) bool {
				return a == imap.MailboxAttrHasChildren || a == imap.MailboxAttrHasNoChildren
			})
			got[data.Mailbox] = fmt.Sprint(attrs)
		}
		want := map[string]string{
			"INBOX": "[]", "Trash": `[\Trash]`, "100%": "[]", "Top": `[\Noselect]`,
			"Top" + d + "Größe & Maße": "[]", "Top" + d + "Mid": `[\Noselect]`, "Top" + d + "Mid" + d + "日本": "[]",
		}
		if !maps.Equal(got, want) {
			t.Errorf("LIST: %v\nwant  %v", got, want)
		}
		if _, err := c.Select("Top", nil).Wait(); !hasCode(err, imap.ResponseCodeNonExistent) {
			t.Errorf("SELECT of a \\Noselect mailbox: %v", err)
		}
		ns, err := c.Namespace().Wait()
		check(t, err)
		if len(ns.Personal) != 1 || ns.Personal[0].Delim != delim {
			t.Errorf("NAMESPACE %+v", ns.Personal)
		}
		level, err := c.List("", "%", nil).Collect()
		check(t, err)
		if len(level) != 4 {
			t.Errorf("LIST %%: %d names, want 4", len(level))
		}
	}
}

func TestMailboxCommands(t *testing.T) {
	s := start(t, Options{})
	check(t, s.Append("Old/Sub", []byte("Subject: x\n\n"), time.Time{}))
	c := dial(t, s, nil)
	names := func() string {
		list, err := c.List("", "*", nil).Collect()
		check(t, err)
		var names []string
		for _, data := range list {
			names = append(names, data.Mailbox)
		}
		return strings.Join(names, " ")
	}
	before := selectBox(t, c, "Old/Sub")
	check(t, c.Unselect().Wait())

	check(t, c.Rename("Old", "New", nil).Wait())
	if got := names(); got != "INBOX New New/Sub" {
		t.Errorf("after RENAME: %s", got)
	}
	if after := selectBox(t, c, "New/Sub"); after.UIDValidity != before.UIDValidity || after.NumMessages != 1 {
		t.Errorf("RENAME has changed the messages: %+v, %+v", before, after)
	}
	check(t, c.Unselect().Wait())

	check(t, c.Delete("New/Sub").Wait())
	check(t, c.Create("New/Sub", nil).Wait())
	if after := selectBox(t, c, "New/Sub"); after.UIDValidity == before.UIDValidity || after.NumMessages != 0 {
		t.Errorf("a mailbox made anew looks like the old one: %+v", after)
	}
	if err := c.Delete("INBOX").Wait(); err == nil {
		t.Error("INBOX can be deleted")
	}
	if err := c.Create("INBOX", nil).Wait(); !hasCode(err, imap.ResponseCodeAlreadyExists) {
		t.Errorf("CREATE INBOX: %v", err)
	}
	// Deleting a mailbox with others below it leaves its name.
	check(t, c.Create("Up", nil).Wait())
	check(t, c.Create("Up/Down", nil).Wait())
	check(t, c.Delete("Up").Wait())
	if got := names(); !strings.Contains(got, "Up Up/Down") {
		t.Errorf("after DELETE of a parent: %s", got)
	}
	if _, err := c.Select("Up", nil).Wait(); err == nil {
		t.Error("a deleted parent can be selected")
	}
}

func TestSeenOnlyWithoutPeek(t *testing.T) {
	s := start(t, Options{})
	check(t, s.Append("INBOX", []byte("Subject: x\n\nbody\n"), time.Time{}))
	c := dial(t, s, nil)
	selectBox(t, c, "INBOX")
	flags := func() []imap.Flag {
		return fetch(t, c, allUIDs, &imap.FetchOptions{Flags: true})[0].Flags
	}
	body(t, c, 1, imap.FetchItemBodySection{})
	if got := flags(); len(got) != 0 {
		t.Errorf("BODY.PEEK[] sets %v", got)
	}
	fetch(t, c, allUIDs, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{}}})
	if got := flags(); !slices.Equal(got, []imap.Flag{imap.FlagSeen}) {
		t.Errorf("after BODY[] the flags are %v", got)
	}
}

func TestExamineIsReadOnly(t *testing.T) {
	s := start(t, Options{})
	check(t, s.Append("INBOX", []byte("Subject: x\n\nbody\n"), time.Time{}, imap.FlagDeleted))
	c := dial(t, s, nil)
	_, err := c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
	check(t, err)
	store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}, Silent: true}
	if err := c.Store(allUIDs, store, nil).Close(); !hasCode(err, imap.ResponseCodeNoPerm) {
		t.Errorf("STORE: %v", err)
	}
	if err := c.Expunge().Close(); !hasCode(err, imap.ResponseCodeNoPerm) {
		t.Errorf("EXPUNGE: %v", err)
	}
	fetch(t, c, allUIDs, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{}}})
	if got := fetch(t, c, allUIDs, &imap.FetchOptions{Flags: true})[0].Flags; !slices.Equal(got, []imap.Flag{imap.FlagDeleted}) {
		t.Errorf("flags after reading: %v", got)
	}
}

// watch counts what a client is told without asking.
type watch struct {
	expunged chan uint32
	exists   chan uint32
}

func newWatch() *watch {
	return &watch{expunged: make(chan uint32, 16), exists: make(chan uint32, 16)}
}

func (w *watch) handler() *imapclient.UnilateralDataHandler {
	return &imapclient.UnilateralDataHandler{
		Expunge: func(seqNum uint32) { w.expunged <- seqNum },
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				w.exists <- *data.NumMessages
			}
		},
	}
}

func TestSecondClientAtNoop(t *testing.T) {
	s := start(t, Options{})
	for i := range 3 {
		check(t, s.Append("INBOX", fmt.Appendf(nil, "Subject: %d\n\n", i), time.Time{}))
	}
	w := newWatch()
	reader, writer := dial(t, s, w.handler()), dial(t, s, nil)
	selectBox(t, reader, "INBOX")
	selectBox(t, writer, "INBOX")

	// A new message: unknown before NOOP, there after it.
	check(t, s.Append("INBOX", []byte("Subject: new\n\n"), time.Time{}))
	if n := len(fetch(t, reader, imap.UIDSetNum(4), &imap.FetchOptions{UID: true})); n != 0 {
		t.Errorf("a message is sent that the client has not been told of")
	}
	check(t, reader.Noop().Wait())
	if got := <-w.exists; got != 4 {
		t.Errorf("EXISTS %d, want 4", got)
	}
	if n := len(fetch(t, reader, imap.UIDSetNum(4), &imap.FetchOptions{UID: true})); n != 1 {
		t.Errorf("the new message is not sent after NOOP")
	}

	// \Deleted on 1 and 2, but only UID 2 is expunged.
	store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}
	check(t, writer.Store(imap.UIDSetNum(1, 2), store, nil).Close())
	seqNums, err := writer.UIDExpunge(imap.UIDSetNum(2)).Collect()
	check(t, err)
	if !slices.Equal(seqNums, []uint32{2}) {
		t.Errorf("EXPUNGE responses %v, want [2]", seqNums)
	}
	check(t, reader.Noop().Wait())
	if got := <-w.expunged; got != 2 {
		t.Errorf("EXPUNGE %d, want 2", got)
	}
	var uids []imap.UID
	for _, msg := range fetch(t, reader, allUIDs, &imap.FetchOptions{UID: true}) {
		uids = append(uids, msg.UID)
	}
	if !slices.Equal(uids, []imap.UID{1, 3, 4}) {
		t.Errorf("left are %v, want 1, 3 and 4", uids)
	}
}

func TestIdle(t *testing.T) {
	s := start(t, Options{})
	w := newWatch()
	c := dial(t, s, w.handler())
	selectBox(t, c, "INBOX")
	// One message before IDLE begins, one during it: neither may be kept back.
	check(t, s.Append("INBOX", []byte("Subject: before\n\n"), time.Time{}))
	idle, err := c.Idle()
	check(t, err)
	if got := <-w.exists; got != 1 {
		t.Errorf("EXISTS %d, want 1", got)
	}
	check(t, s.Append("INBOX", []byte("Subject: during\n\n"), time.Time{}))
	if got := <-w.exists; got != 2 {
		t.Errorf("EXISTS %d, want 2", got)
	}
	check(t, idle.Close())
	check(t, idle.Wait())
}

func TestCopyAndMove(t *testing.T) {
	s := start(t, Options{})
	check(t, s.Append("INBOX", []byte("Subject: x\n\nbody\n"), time.Time{}, imap.FlagSeen))
	check(t, s.Append("Other", []byte("Subject: y\n\n"), time.Time{}))
	c := dial(t, s, nil)
	selectBox(t, c, "INBOX")
	copied, err := c.Copy(allUIDs, "Other").Wait()
	check(t, err)
	if copied.DestUIDs.String() != "2" {
		t.Errorf("COPYUID %v", copied.DestUIDs)
	}
	_, err = c.Move(imap.UIDSetNum(1), "Other").Wait()
	check(t, err)
	if n := len(fetch(t, c, allUIDs, &imap.FetchOptions{UID: true})); n != 0 {
		t.Errorf("%d messages left after MOVE", n)
	}
	selectBox(t, c, "Other")
	if got := body(t, c, 3, imap.FetchItemBodySection{}); !strings.HasSuffix(got, "body\r\n") {
		t.Errorf("the moved message is %q", got)
	}
	if _, err := c.Copy(allUIDs, "Nowhere").Wait(); !hasCode(err, imap.ResponseCodeTryCreate) {
		t.Errorf("COPY to nowhere: %v", err)
	}
}

func TestSearch(t *testing.T) {
	s := start(t, Options{})
	for i, raw := range []string{
		"Subject: apples\nDate: Mon, 01 Jan 2024 10:00:00 +0000\n\nred\n",
		"Subject: pears\nDate: Fri, 01 Mar 2024 10:00:00 +0000\n\ngreen\n",
		"Subject: Apple cake\n\nbrown, with a long story about the oven\n",
	} {
		var flags []imap.Flag
		if i == 1 {
			flags = append(flags, imap.FlagSeen)
		}
		check(t, s.Append("INBOX", []byte(raw), time.Date(2024, 1, 10*(i+1), 12, 0, 0, 0, time.UTC), flags...))
	}
	c := dial(t, s, nil)
	selectBox(t, c, "INBOX")
	day := func(m time.Month, d int) time.Time { return time.Date(2024, m, d, 0, 0, 0, 0, time.UTC) }
	for name, tt := range map[string]struct {
		criteria imap.SearchCriteria
		want     string
	}{
		"all":        {imap.SearchCriteria{}, "1:3"},
		"last":       {imap.SearchCriteria{UID: []imap.UIDSet{{{Start: 0, Stop: 0}}}}, "3"},
		"past last":  {imap.SearchCriteria{UID: []imap.UIDSet{{{Start: 9, Stop: 0}}}}, "3"},
		"number":     {imap.SearchCriteria{SeqNum: []imap.SeqSet{imap.SeqSetNum(2)}}, "2"},
		"seen":       {imap.SearchCriteria{Flag: []imap.Flag{imap.FlagSeen}}, "2"},
		"unseen":     {imap.SearchCriteria{NotFlag: []imap.Flag{imap.FlagSeen}}, "1,3"},
		"subject":    {imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "subject", Value: "APPLE"}}}, "1,3"},
		"body":       {imap.SearchCriteria{Body: []string{"green"}}, "2"},
		"text":       {imap.SearchCriteria{Text: []string{"pears"}}, "2"},
		"since":      {imap.SearchCriteria{Since: day(1, 20)}, "2:3"},
		"before":     {imap.SearchCriteria{Before: day(1, 20)}, "1"},
		"sent since": {imap.SearchCriteria{SentSince: day(2, 1)}, "2"},
		"larger":     {imap.SearchCriteria{Larger: 63}, "2:3"},
		"smaller":    {imap.SearchCriteria{Smaller: 64}, "1"},
		"not":        {imap.SearchCriteria{Not: []imap.SearchCriteria{{Body: []string{"red"}}}}, "2:3"},
		"or":         {imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{{Body: []string{"red"}}, {Flag: []imap.Flag{imap.FlagSeen}}}}}, "1:2"},
		"nothing":    {imap.SearchCriteria{Body: []string{"blue"}}, ""},
	} {
		for _, o := range []*imap.SearchOptions{nil, {ReturnAll: true, ReturnCount: true}} {
			data, err := c.UIDSearch(&tt.criteria, o).Wait()
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			got := ""
			if data.All != nil {
				got = data.All.String()
			}
			if got != tt.want {
				t.Errorf("%s: found %q, want %q", name, got, tt.want)
			}
		}
	}
}

// A client that asks for much and reads nothing must not hold up the others.
func TestStalledClient(t *testing.T) {
	s := start(t, Options{})
	check(t, s.Append("INBOX", []byte("Subject: big\n\n"+strings.Repeat("x", 16<<20)), time.Time{}))
	stalled, err := net.Dial("tcp", s.Addr)
	check(t, err)
	defer stalled.Close()
	fmt.Fprintf(stalled, "a LOGIN %s %s\r\nb SELECT INBOX\r\nc UID FETCH 1 BODY.PEEK[]\r\n", s.User, s.Password)
	// When the literal has begun, the server is in the middle of it.
	var got strings.Builder
	for !strings.Contains(got.String(), "BODY[]") {
		if _, err := io.CopyN(&got, stalled, 1); err != nil {
			t.Fatal(err)
		}
	}
	c := dial(t, s, nil)
	selectBox(t, c, "INBOX")
	store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen}, Silent: true}
	check(t, c.Store(allUIDs, store, nil).Close())
}

func TestCloseEndsEverything(t *testing.T) {
	s, err := Start()
	check(t, err)
	idling := dial(t, s, nil)
	selectBox(t, idling, "INBOX")
	_, err = idling.Idle()
	check(t, err)
	resting := dial(t, s, nil)
	silent, err := net.Dial("tcp", s.Addr) // has not even logged in
	check(t, err)
	defer silent.Close()

	check(t, s.Close())
	check(t, s.Close())
	<-idling.Closed()
	<-resting.Closed()
	if _, err := net.Dial("tcp", s.Addr); err == nil {
		t.Error("the server still listens")
	}
	// A goroutine may be on its last instructions when Close returns.
	deadline := time.Now().Add(10 * time.Second)
	for serverGoroutines() > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines of the server are left", serverGoroutines())
		}
		runtime.Gosched()
	}
}

func serverGoroutines() int {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	n := 0
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(stack, "imapserver.") {
			n++
		}
	}
	return n
}
