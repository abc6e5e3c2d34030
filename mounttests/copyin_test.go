package mounttests

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/internal/harness"
	"imapfs/mail"
)

// put is a way to put letters into a folder, as a script for bash. It finds the folder
// in $M, a letter with lines that end in LF in $L, its head and its body in $H and $B,
// which a mail program has dated, and room in $W.
type put struct {
	act    string // what is done, as the test is called
	needs  string // programs beside coreutils and bash
	script string
	copies int  // of the letter that are in the folder then
	dated  bool // with the date of the file
	fails  bool // its exit code is not 0
	later  bool // nobody waits for the last of them
}

const putLetter = "From: a@example.org\nMessage-ID: <put@example.org>\nSubject: put\n\nFirst line\nlast one\n"

var putDate = time.Unix(1_000_000_000, 0)

var puts = []put{
	{act: "cp", script: `cp "$L" "$M"`, copies: 1},
	{act: "cp, again", script: `cp "$L" "$M" && cp "$L" "$M"`, copies: 2},
	{act: "cp -p", script: `cp -p "$L" "$M"`, copies: 1, dated: true},
	{act: "cp -a", script: `cp -a "$L" "$M/x.EML"`, copies: 1, dated: true},
	{act: "install", script: `install -m 600 "$L" "$M/x.eml"`, copies: 1},
	{act: "mv", script: `cp -p "$L" "$W/x.eml"; mv "$W/x.eml" "$M" && ! test -e "$W/x.eml"`, copies: 1, dated: true},
	{act: "mv, many", script: `mkdir m; for i in 1 2 3; do cp -p "$L" m/$i.eml; done; mv m/* "$M"`, copies: 3, dated: true},
	{act: "cat", script: `cat "$L" >"$M/x.eml"`, copies: 1},
	{act: "cat, cat", script: `{ cat "$H"; cat "$B"; } >"$M/x.eml"`, copies: 1},
	{act: "(cat, cat)", script: `(cat "$H"; cat "$B") >"$M/x.eml"; cat "$M/x.eml" >/dev/null`, copies: 1, later: true},
	{act: "exec", script: `exec 3>"$M/x.eml"; cat "$H" >&3; cat "$B" >&3; exec 3>&-`, copies: 1},
	{act: "tee", script: `tee "$M/x.eml" "$M/y.eml" <"$L" >/dev/null`, copies: 2},
	{act: "dd", script: `dd if="$L" of="$M/x.eml" bs=7 status=none`, copies: 1},
	{act: "part, rename", script: `cp -p "$L" "$M/x.eml.part" && test -e "$M/x.eml.part" && mv "$M/x.eml.part" "$M/x.eml"`, copies: 1, dated: true},
	{act: "temporary, rename", script: `umask 077; cp "$L" "$M/.x.tmp" && sync "$M/.x.tmp" && mv -f "$M/.x.tmp" "$M/x.eml" && cmp "$L" "$M/x.eml"`, copies: 1},
	{act: "removed again", script: `cp "$L" "$M/x.eml" && rm "$M/x.eml" && ! test -e "$M/x.eml"`, copies: 1},
	{act: "dot files", script: `cp "$L" "$M/.directory"; cp "$L" "$M/._x.eml"; cp "$L" "$M/.x.eml.swp" && rm "$M/.x.eml.swp"`},
	{act: "another kind", script: `cp "$L" "$M/x.txt"`, fails: true},
	{act: "no header", script: `cp "$B" "$M/x.eml"`, fails: true},
	{act: "NUL", script: `cat "$L" /dev/zero | head -c 1000 >"$M/x.eml"`, fails: true},
	{act: "a number", script: `cp "$L" "$M/12"`, fails: true},
	{act: "killed", script: `bash -c 'exec 3>"$M/x.eml"; cat "$H" >&3; kill -9 $$'`, fails: true},
	{act: "killed cp", script: `mkfifo f; (cat "$H"; exec sleep 100) >f & cp f "$M/x.eml" & cp=$!
until test -s "$M/x.eml"; do :; done; kill -9 $cp %1; wait $cp; ! test -e "$M/x.eml"`},

	{act: "rsync -a", needs: "rsync", script: `rsync -a "$L" "$M"`, copies: 1, dated: true},
	{act: "rsync -a, a directory", needs: "rsync", script: `mkdir r; cp -p "$L" r/1.eml; cp -p "$L" r/2.eml; rsync -rt --omit-dir-times r/ "$M"`, copies: 2, dated: true},
	{act: "rsync --inplace", needs: "rsync", script: `rsync --inplace "$L" "$M"`, copies: 1},
	{act: "busybox cp", needs: "busybox", script: `busybox cp "$L" "$M"`, copies: 1},
	{act: "busybox mv", needs: "busybox", script: `cp "$L" x.eml; busybox mv x.eml "$M"`, copies: 1},
	{act: "gio copy", needs: "gio", script: `gio copy "$L" "$M"`, copies: 1},
	{act: "gio move", needs: "gio", script: `cp "$L" x.eml; gio move x.eml "$M" && ! test -e x.eml`, copies: 1},
	{act: "gio copy, again", needs: "gio", script: `gio copy "$L" "$M" && gio copy "$L" "$M"`, copies: 2},
	{act: "unison", needs: "unison", script: `mkdir u; cp "$L" u; unison -batch -ui text -perms 0 u "$M" >/dev/null 2>&1; ls "$M" >/dev/null`, copies: 1},
	{act: "emacs", needs: "emacs", script: `emacs -Q --batch --eval "(progn (find-file \"$L\") (write-file \"$M/x.eml\"))"`, copies: 1},
	{act: "perl", needs: "perl", script: `perl -MFile::Copy -e 'copy(@ARGV) or die $!' "$L" "$M/x.eml"`, copies: 1},
	{act: "zip", needs: "zip unzip", script: `cp -p "$L" x.eml; zip -q a.zip x.eml; unzip -q a.zip -d "$M"`, copies: 1},
	{act: "curl", needs: "curl", script: `curl -s "file://$L" -o "$M/x.eml"`, copies: 1},
	{act: "tar x", needs: "tar", script: `cp -p "$L" x.eml; tar c x.eml | tar x -C "$M"`, copies: 1, dated: true},
	{act: "python write", needs: "python3", script: `python3 -c 'import os, sys; open(sys.argv[2], "wb").write(open(sys.argv[1], "rb").read())' "$L" "$M/x.eml"`, copies: 1},
	{act: "python copy2", needs: "python3", script: `python3 -c 'import shutil, sys; shutil.copy2(*sys.argv[1:])' "$L" "$M/x.eml"`, copies: 1},
	{act: "python move", needs: "python3", script: `cp "$L" x.eml; python3 -c 'import shutil, sys; shutil.move(*sys.argv[1:])' x.eml "$M/x.eml"`, copies: 1},
	{act: "vim", needs: "vim", script: `vim -u NONE -es -c "w $M/x.eml" -c q! "$L"`, copies: 1},
}

// TestPutsLetters puts letters into folders in many ways, on all servers: a success
// means that each is there once, and a failure that it is not.
func TestPutsLetters(t *testing.T) {
	harness.Need(t, "bash")
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		folder := func(i int) string { return fmt.Sprintf("put-%d", i) }
		for i := range puts {
			harness.Must(t, c.Create(a.Mailbox(folder(i)), nil).Wait())
		}
		mnt := a.Top(harness.Mount(t, a))
		for i, p := range puts {
			t.Run(p.act, func(t *testing.T) {
				harness.Need(t, strings.Fields(p.needs)...)
				err := putScript(t, filepath.Join(mnt, folder(i)), p.script)
				if (err != nil) != p.fails {
					t.Errorf("it ends with %v", err)
				}
				if p.later {
					harness.Eventually(t, "it is there", func() bool { return len(harness.Messages(t, c, a.Mailbox(folder(i)))) > 0 })
				}
				held := harness.Messages(t, c, a.Mailbox(folder(i)))
				if len(held) != p.copies {
					t.Errorf("the server has %d, want %d", len(held), p.copies)
				}
				var names []string
				for _, m := range held {
					names = append(names, fmt.Sprint(m.UID))
					if want := strings.ReplaceAll(putLetter, "\n", "\r\n"); string(m.Raw) != want {
						t.Errorf("got %q, want %q", m.Raw, want)
					}
					if m.Date.Equal(putDate) != p.dated {
						t.Errorf("dated %v, want the file's: %t", m.Date, p.dated)
					}
					if !slices.Contains(m.Flags, imap.FlagSeen) {
						t.Errorf("flags %q", m.Flags)
					}
				}
				harness.Eventually(t, "the folder shows it", func() bool {
					shown := slices.DeleteFunc(harness.Names(t, filepath.Join(mnt, folder(i))), func(name string) bool { return name[0] == '.' })
					return slices.Equal(shown, names)
				})
			})
		}
	})
}

func putScript(t *testing.T, dir, script string) error {
	t.Helper()
	work := t.TempDir()
	head, body, _ := strings.Cut(putLetter, "\n\n")
	env := append(os.Environ(), "M="+dir, "W="+work, "HOME="+work, "LC_ALL=C.UTF-8")
	for name, text := range map[string]string{"L": putLetter, "H": head + "\n\n", "B": body} {
		path := filepath.Join(t.TempDir(), strings.ToLower(name)+".eml")
		harness.Must(t, os.WriteFile(path, []byte(text), 0o600))
		harness.Must(t, os.Chtimes(path, putDate, putDate))
		env = append(env, name+"="+path)
	}
	ctx, cancel := context.WithTimeout(t.Context(), harness.Within)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir, cmd.Env = work, env
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// TestPutsCorpus copies real mail into a folder with rsync: it arrives as it is, but for
// the ends of its lines. (Cyrus puts an X for each 8-bit byte in a header.)
func TestPutsCorpus(t *testing.T) {
	harness.Need(t, "rsync")
	all := corpus(t)
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		dir := t.TempDir()
		var want []string
		for i := 0; i < len(all); i += len(all) / 50 {
			if bytes.ContainsFunc(mail.SplitHeader(all[i]), func(r rune) bool { return r >= 0x80 }) {
				continue
			}
			name := fmt.Sprintf("%d.eml", i)
			harness.Must(t, os.WriteFile(filepath.Join(dir, name), all[i], 0o600))
			want = append(want, string(onTheWire(all[i])))
		}
		c := a.Client(t)
		harness.Must(t, c.Create(a.Mailbox("Archive"), nil).Wait())
		mnt := a.Top(harness.Mount(t, a))
		harness.Run(t, "rsync", "-rt", "--omit-dir-times", dir+"/", filepath.Join(mnt, "Archive"))
		var got []string
		for _, m := range harness.Messages(t, c, a.Mailbox("Archive")) {
			got = append(got, string(m.Raw))
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%d have come of %d, or not as they were", len(got), len(want))
		}
	})
}

// onTheWire returns a message with each line ended by CRLF.
func onTheWire(raw []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// TestPutsWithoutOpen puts letters into a folder of a mount that has told the kernel to
// send no OPEN, which goes for files to be written too.
func TestPutsWithoutOpen(t *testing.T) {
	_, p := harness.Inbox(t, 3)
	c := p.Client(t)
	harness.Must(t, c.Create("Archive", nil).Wait())
	r := harness.NewRemounter(t, p.Account, "--mirror")
	process := r.Mount(t)
	harness.Eventually(t, "OPEN is spared", func() bool { return mirrorOf(t, r.Dir).Spared })
	harness.Read(t, r.Dir, "INBOX/1/body.txt") // the kernel is told with the first OPEN
	dir := filepath.Join(r.Dir, "Archive")
	for _, script := range []string{
		`cp "$L" "$M/1.eml" && cmp "$L" "$M/1.eml"`,
		`cp "$H" "$M/.2"; cat "$B" >>"$M/.2"; cmp "$L" "$M/.2" && mv "$M/.2" "$M/2.eml"`,
		`cp "$B" "$M/3.eml.part"; cp -p "$L" "$M/3.eml.part"; mv "$M/3.eml.part" "$M/3.eml"`,
		`cp "$H" "$M/4.eml"; { cat "$B"; } >>"$M/4.eml"`,
		`touch "$M/5.eml"; cat "$L" >"$M/5.eml"`,
		`cp "$L" "$M/6.eml"; cp "$L" "$M/6.eml"`,
		`! cp "$L" "$M/8" && ! cp "$B" "$M/8.eml"`,
	} {
		if err := putScript(t, dir, script); err != nil {
			t.Errorf("%s: %v", script, err)
		}
	}
	held := harness.Messages(t, c, "Archive")
	if len(held) != 7 {
		t.Errorf("the server has %d, want 7", len(held))
	}
	for _, m := range held {
		if string(m.Raw) != string(onTheWire([]byte(putLetter))) {
			t.Errorf("got %q", m.Raw)
		}
	}
	if err := putScript(t, dir, `cp "$L" "$M/.lost"`); err != nil {
		t.Error(err)
	}
	process.Unmount(t)
	process.WaitSaid(t, "never got the name of a message")
}

// TestCopiesOnServer copies a message.eml into a folder: the server copies, and no byte
// of it goes over the line.
func TestCopiesOnServer(t *testing.T) {
	_, p := harness.Inbox(t, 3)
	c := p.Client(t)
	harness.Must(t, c.Create("Archive", nil).Wait())
	mnt := harness.Mount(t, p.Account)
	raw := harness.Read(t, mnt, "INBOX/1/message.eml")
	p.Forget()
	harness.Run(t, "cp", "-p", filepath.Join(mnt, "INBOX/1/message.eml"), filepath.Join(mnt, "Archive/x.eml"))
	if sent := p.Sent("COPY"); len(sent) != 1 {
		t.Errorf("sent %q", p.Sent(""))
	}
	if sent := append(p.Sent("APPEND"), p.Sent("BODY")...); len(sent) > 0 {
		t.Errorf("sent %q", sent)
	}
	from := harness.Messages(t, c, "INBOX")
	held := harness.Messages(t, c, "Archive")
	if len(held) != 1 || !bytes.Equal(held[0].Raw, raw) || !held[0].Date.Equal(from[0].Date) {
		t.Errorf("got %v", held)
	}
}

// quota is Options.Extra for a Dovecot whose users have room for little.
const quota = `
protocol imap {
  mail_plugins = quota
}
plugin {
  quota = count:User quota
  quota_rule = *:storage=4K
  quota_vsizes = yes
}
`

// TestPutsBeyondQuota puts a letter into a folder for which the server has no room:
// close says so, and nothing is there.
func TestPutsBeyondQuota(t *testing.T) {
	a := harness.EmptyDovecot(t, quota)
	c := a.Client(t)
	harness.Must(t, c.Create("Archive", nil).Wait())
	dir := filepath.Join(harness.Mount(t, a), "Archive")
	err := putScript(t, dir, `{ cat "$L"; yes 'not room for all this' | head -c 5000; } >$W/x.eml; cp $W/x.eml "$M"`)
	if err == nil || !strings.Contains(err.Error(), "failed to close") || !strings.Contains(err.Error(), "Disk quota exceeded") {
		t.Errorf("got %v, want that the quota is exceeded", err)
	}
	if names := harness.Names(t, dir); len(names) > 0 {
		t.Errorf("there is %q", names)
	}
	if err := putScript(t, dir, `cp "$L" "$M"`); err != nil {
		t.Error(err)
	}
	if held := harness.Messages(t, c, "Archive"); len(held) != 1 {
		t.Errorf("the server has %d, want 1", len(held))
	}
}
