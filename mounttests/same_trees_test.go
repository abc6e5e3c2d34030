package mounttests

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"imapfs/internal/courier"
	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
)

// messageTree is what a message's directory has, attachments included: by name,
// and what is in the file once it was read.
type messageTree map[string]string

func (m messageTree) String() string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, strings.TrimSuffix(fmt.Sprintf("%q: %s", name, m[name]), ": "))
	}
	return strings.Join(lines, ", ")
}

// inOrder returns the names in a directory in the order in which the mount lists
// them, as programs do that walk through it.
func inOrder(t *testing.T, dir string) []string {
	t.Helper()
	d, err := os.Open(dir)
	harness.Must(t, err)
	defer d.Close()
	list, err := d.Readdirnames(-1)
	harness.Must(t, err)
	return list
}

// listTrees looks at messages of a folder, one after the other, and reads nothing.
func listTrees(t *testing.T, folder string, uids []string) map[string]messageTree {
	t.Helper()
	all := make(map[string]messageTree)
	for _, uid := range uids {
		m := make(messageTree)
		for _, name := range harness.Names(t, filepath.Join(folder, uid)) {
			m[name] = ""
		}
		for _, name := range harness.Names(t, filepath.Join(folder, uid, "attachments")) {
			m["attachments/"+name] = ""
		}
		all[uid] = m
	}
	return all
}

// readTrees lists messages of a folder, and then reads all that is listed.
func readTrees(t *testing.T, folder string, uids []string) map[string]messageTree {
	t.Helper()
	all := listTrees(t, folder, uids)
	for _, uid := range uids {
		m := all[uid]
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if name != "attachments" {
				b := harness.Read(t, folder, uid, name)
				m[name] = fmt.Sprintf("%d bytes, SHA-256 %.4x", len(b), sha256.Sum256(b))
			}
		}
	}
	return all
}

// sameTrees compares the trees of a folder with those that are wanted.
func sameTrees(t *testing.T, when string, got, want map[string]messageTree) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d messages, want %d", when, len(got), len(want))
	}
	differ := 0
	for _, uid := range slices.Sorted(maps.Keys(want)) {
		if maps.Equal(got[uid], want[uid]) {
			continue
		}
		if differ++; differ <= 10 {
			t.Errorf("%s: message %s has\n%v\nwant\n%v", when, uid, got[uid], want[uid])
		}
	}
	if differ > 10 {
		t.Errorf("%s: the trees of %d messages differ", when, differ)
	}
}

// namesOnly is what readTrees would have returned had it read nothing.
func namesOnly(trees map[string]messageTree) map[string]messageTree {
	all := make(map[string]messageTree)
	for uid, m := range trees {
		all[uid] = make(messageTree)
		for name := range m {
			all[uid][name] = ""
		}
	}
	return all
}

// describedOddly are messages that servers describe each in its own way. The
// large ones are not fetched whole for one of their files.
func describedOddly() [][]byte {
	const version = "MIME-Version: 1.0\n"
	long := strings.Repeat("<p>All work and no play makes Jack a dull boy.</p>\n", 4000)
	var all [][]byte
	for _, filler := range []string{"", long} {
		image := "Content-Type: image/gif; name=dot.gif\nContent-Transfer-Encoding: base64\n\nR0lGODlhAQABAAAAACw=\n"
		html := "Content-Type: text/html\n\n<p>Some <b>text</b></p>\n" + filler
		inner := "Subject: inner\n" + version + "Content-Type: text/html\n\n<p>Inside</p>\n" + filler
		for _, m := range []string{
			// Without MIME-Version, to Courier all this is plain text.
			html,
			"Content-Type: multipart/mixed; boundary=b\n\n--b\n" + html + "--b\n" + image + "--b--\n",
			"Content-Type: multipart/alternative; boundary=b\n\n--b\n\nplain\n--b\n" + html + "--b--\n",
			"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nR3LDvMOfZQo=\n" + strings.Repeat("R3LDvMOfZQo=\n", len(filler)/13),
			// A boundary that begins with the one around it.
			version + "Content-Type: multipart/related; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=bAA\n\n" +
				"--bAA\n" + html + "--bAA--\n--b\n" + image + "--b--\n",
			// No delimiter is as it was announced.
			version + "Content-Type: multipart/alternative; boundary=\"=b\"\n\n--= b\n" + html + "--= b--\n",
			// The next two Courier changes itself, which shows in a large one: a line
			// end more, and a name that it reads in its own way.
			// An attached message, the last empty line of which belongs to the delimiter.
			version + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nplain\n--b\nContent-Type: message/rfc822\n\n" + inner + "\n--b--\n",
			version + "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + html + "--b\n" +
				"Content-Type: application/pdf\nContent-Disposition: attachment; filename=two words.pdf\n\n%PDF\n--b--\n",
		} {
			all = append(all, []byte("Subject: odd\n"+m))
		}
		if filler != "" {
			all = all[:len(all)-2]
		}
	}
	return all
}

// changedNames are names of attachments that Courier changes. Until the message is
// read nobody can know.
var changedNames = regexp.MustCompile(`name=[^"\s;]+ [^\s;=]+\n|name="[^"\n]*(\\|[\x80-\xff])`)

// oddMail returns what is described oddly, and the mail of the sample.
func oddMail(t *testing.T) [][]byte {
	t.Helper()
	all := describedOddly()
	c := harness.Embedded(t).Client(t)
	for _, l := range harness.Folders(t, c) {
		if harness.Selectable(l) {
			for _, m := range harness.Messages(t, c, l.Mailbox) {
				all = append(all, m.Raw)
			}
		}
	}
	return all
}

// TestSameTrees shows mail through two servers that describe it each in its own
// way: a message has the same files whichever has it, whatever of it is used
// first, and after a remount.
func TestSameTrees(t *testing.T) {
	testSameTrees(t, append(corpus(t), oddMail(t)...), func([]string) {})
}

// TestSameTreesBackwards is not taken for a walk, so nothing is fetched before it
// is asked for.
func TestSameTreesBackwards(t *testing.T) {
	testSameTrees(t, oddMail(t), slices.Reverse[[]string])
}

var endOfLine = regexp.MustCompile(`\r*\n`)

// testSameTrees goes through the messages in the order of the mount, changed by
// reorder.
func testSameTrees(t *testing.T, all [][]byte, reorder func([]string)) {
	for i := range all {
		// Courier adds a CR at the end of each line, Dovecot where there is none.
		all[i] = endOfLine.ReplaceAll(all[i], []byte("\n"))
	}
	d := dovecot.Start(t, dovecot.Options{})
	d.Deliver(t, all...)
	c := courier.Start(t, harness.Testdata("courier"))
	c.Deliver(t, all...)

	inbox := filepath.Join(harness.Mount(t, harness.DovecotAccount(d)), "INBOX")
	uids := inOrder(t, inbox)
	if len(uids) != len(all) {
		t.Fatalf("%d messages are listed, want %d", len(uids), len(all))
	}
	want := readTrees(t, inbox, uids)
	wantNames := namesOnly(want)
	reorder(uids)
	changed := make(map[string]bool)
	for i, uid := range inOrder(t, inbox) {
		changed[uid] = changedNames.Match(all[i])
	}
	for name, a := range map[string]harness.Account{"dovecot": harness.DovecotAccount(d), "courier": harness.CourierAccount(c)} {
		for _, first := range []string{"ls", "cat"} {
			t.Run(name+", "+first+" first", func(t *testing.T) {
				t.Parallel()
				r := harness.NewRemounter(t, a)
				inbox := filepath.Join(r.Dir, "INBOX")
				p := r.Mount(t)
				if first == "cat" {
					for _, uid := range uids {
						harness.Read(t, inbox, uid, "body.txt")
						harness.Read(t, inbox, uid, "headers.txt")
					}
				}
				atFirst, read := listTrees(t, inbox, uids), readTrees(t, inbox, uids)
				if name == "courier" && first == "ls" {
					for uid := range changed {
						if changed[uid] {
							atFirst[uid], read[uid] = wantNames[uid], want[uid]
						}
					}
				}
				sameTrees(t, "at first", atFirst, wantNames)
				sameTrees(t, "read", read, want)
				p.Unmount(t)
				p = r.Mount(t)
				sameTrees(t, "mounted again", listTrees(t, inbox, uids), wantNames)
				sameTrees(t, "read again", readTrees(t, inbox, uids), want)
				p.Unmount(t)
			})
		}
	}
}
