package fs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"imapfs/mail"
)

const letterText = "Subject: new\n\nHello\n"

// said asks the server, in the process that has it.
func (m *mounted) said(t *testing.T, question string) string {
	t.Helper()
	m.do(t, question)
	if !m.stdout.Scan() {
		t.Fatal("the server has ended")
	}
	return strings.TrimSpace(m.stdout.Text())
}

// has checks which messages have come, and nothing else.
func (m *mounted) has(t *testing.T, want ...string) {
	t.Helper()
	var b strings.Builder
	for _, text := range want {
		fmt.Fprintf(&b, "%q ", text)
	}
	b.WriteString("[]")
	if got := m.said(t, "mail"); got != b.String() {
		t.Errorf("the server has %s, want %s", got, b.String())
	}
}

// sh runs a script in the inbox of a mount, with a letter in $L.
func (m *mounted) sh(t *testing.T, script string) error {
	t.Helper()
	l := filepath.Join(t.TempDir(), "letter")
	if err := os.WriteFile(l, []byte(letterText), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = filepath.Join(m.dir, "INBOX")
	cmd.Env = append(os.Environ(), "L="+l, "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// TestPut puts letters into a folder as shells and programs do: when that has
// succeeded the server has each once, and whole.
func TestPut(t *testing.T) {
	for what, c := range map[string]struct {
		script string
		want   []string
	}{
		"cp":           {`cp "$L" x.eml`, []string{letterText}},
		"twice":        {`cp "$L" x.eml && cp "$L" x.eml`, []string{letterText, letterText}},
		"cat":          {`cat <"$L" >x.EML`, []string{letterText}},
		"cat in parts": {`{ head -n 1 "$L"; tail -n +2 "$L"; } >x.eml`, []string{letterText}},
		"subshell":     {`(head -n 1 "$L"; tail -n +2 "$L") >x.eml`, []string{letterText}},
		"append":       {`head -n 1 "$L" >.x; tail -n +2 "$L" >>.x; mv .x x.eml`, []string{letterText}},
		"dd":           {`dd if="$L" of=x.eml bs=3 status=none`, []string{letterText}},
		"echo":         {`exec 3>x.eml; echo "Subject: new" >&3; echo >&3; echo Hello >&3`, []string{letterText}},
		"install":      {`install -m 600 "$L" x.eml`, []string{letterText}},
		"part":         {`cp -p "$L" x.eml.part && chmod 600 x.eml.part && mv x.eml.part x.eml`, []string{letterText}},
		"hidden":       {`cp "$L" .x.eml.AbC && mv .x.eml.AbC .x.eml.DeF && mv .x.eml.DeF ../Old/x.eml`, []string{letterText}},
		"other name":   {`exec 3>x; cat "$L" >&3; mv x x.eml; exec 3>&-`, []string{letterText}},
		"no letters":   {`cp "$L" .DS_Store; cp "$L" x.eml~; cp "$L" ._x.eml`, nil},
		"removed":      {`exec 3>x.eml; cat "$L" >&3; rm x.eml; exec 3>&-`, nil},
		"empty":        {`touch x.eml && test -e x.eml && cat "$L" >>x.eml`, []string{letterText}},
		"rewritten":    {`printf 'X' | cat - "$L" >.x; dd if="$L" of=.x conv=notrunc status=none; truncate -s $(wc -c <"$L") .x; mv .x x.eml`, []string{letterText}},
		"looked at":    {`cp "$L" x.eml && cmp "$L" x.eml && touch x.eml && chmod 644 x.eml && rm x.eml && ! test -e x.eml`, []string{letterText}},
		"renamed then": {`cp "$L" x.eml && mv x.eml y.eml && cmp "$L" y.eml`, []string{letterText}},
		"killed":       {`bash -c 'exec 3>x.eml; cat "$L" >&3; kill -9 $$'; ! test -e x.eml`, nil},
		"killed child": {`{ cat "$L"; bash -c 'kill -9 $$'; } >x.eml; true`, []string{letterText}},
	} {
		t.Run(what, func(t *testing.T) {
			m := mount(t, "plain")
			if err := m.sh(t, c.script); err != nil {
				t.Error(err)
			}
			if len(c.want) > 0 { // it may be sent behind the back of a shell
				eventually(t, "all is sent", func() bool { return strings.Count(m.said(t, "mail"), `"`)/2 >= len(c.want) })
			}
			m.has(t, c.want...)
			for i := range c.want {
				name := mail.Number(uint32(9 + i))
				eventually(t, "the message is shown", func() bool {
					b, err := os.ReadFile(filepath.Join(m.dir, "INBOX", name, bodyName))
					return err == nil && string(b) == "Hello\n" && slices.Contains(list(t, filepath.Join(m.dir, "INBOX")), name)
				})
			}
		})
	}
}

// TestPutMore goes on with a letter that was sent: what came before goes for what is
// whole, and once.
func TestPutMore(t *testing.T) {
	m := mount(t, "plain")
	head, body, _ := strings.Cut(letterText, "\n\n")
	path := filepath.Join(m.dir, "INBOX/x.eml")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sh", "-c", "read line; echo $line >&3; exec 3>&-; read line")
	child.ExtraFiles = []*os.File{f}
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(head + "\n\n"); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	m.has(t, head+"\n\n")
	fmt.Fprint(stdin, body)
	eventually(t, "all is there", func() bool {
		return m.said(t, "mail") == fmt.Sprintf("%q [INBOX/9]", letterText)
	})
	stdin.Close()
	child.Wait()

	if f, err = os.OpenFile(path, os.O_APPEND|os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("more"); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if got, want := m.said(t, "mail"), fmt.Sprintf("%q [INBOX/9 INBOX/10]", letterText+"more"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, err := os.ReadFile(filepath.Join(m.dir, "INBOX/11/message.eml")); err != nil || string(got) != letterText+"more" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestPutRefused writes what cannot become a message. close says so, and nothing is
// left.
func TestPutRefused(t *testing.T) {
	m := mount(t, "plain")
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"x.txt", letterText, syscall.EINVAL},
		{"x.emlx", letterText, syscall.EINVAL},
		{"x.eml", "Hello\n", syscall.EINVAL},
		{"x.eml", "\n" + letterText, syscall.EINVAL},
		{"12", letterText, syscall.EPERM},
		{"../x.eml", letterText, syscall.EPERM},
		{"../Year/x.eml", letterText, syscall.EPERM},
	} {
		path := filepath.Join(m.dir, "INBOX", c.name)
		err := os.WriteFile(path, []byte(c.text), 0o600)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there: %v", c.name, err)
		}
	}
	if got := m.said(t, "refuse"); got != "refusing" {
		t.Fatal(got)
	}
	inbox := filepath.Join(m.dir, "INBOX")
	if err := os.WriteFile(filepath.Join(inbox, "x.eml"), []byte(letterText), 0o600); !errors.Is(err, syscall.EDQUOT) {
		t.Errorf("got %v, want EDQUOT", err)
	}
	if err := os.WriteFile(filepath.Join(inbox, ".x"), []byte(letterText), 0o600); err != nil {
		t.Error(err)
	}
	if err := os.Rename(filepath.Join(inbox, ".x"), filepath.Join(inbox, "x.eml")); !errors.Is(err, syscall.EDQUOT) {
		t.Errorf("got %v, want EDQUOT", err)
	}
	if got := list(t, inbox); !slices.Equal(got, []string{".x", "7", "8"}) {
		t.Errorf("left: %v", got)
	}
	m.has(t)
	if got := m.said(t, "accept"); got != "accepting" {
		t.Fatal(got)
	}
	if err := os.Rename(filepath.Join(inbox, ".x"), filepath.Join(inbox, "x.eml")); err != nil {
		t.Error(err)
	}
	m.has(t, letterText)
}

// TestPutDate sets the date of a letter before it is closed.
func TestPutDate(t *testing.T) {
	m := mount(t, "plain")
	if err := m.sh(t, `touch -d @1000000000 "$L"; cp -p "$L" x.eml && cp "$L" y.eml && cp -p "$L" .z && mv .z z.eml && test $(stat -c %Y z.eml) = 1000000000`); err != nil {
		t.Error(err)
	}
	if got, want := m.said(t, "dates"), fmt.Sprint(1000000000, time.Time{}.Unix(), 1000000000); got != want {
		t.Errorf("dates %s, want %s", got, want)
	}
}

// TestCopyWithin copies a message.eml to a letter: the server copies, and nothing is
// fetched or sent.
func TestCopyWithin(t *testing.T) {
	m := mount(t, "plain")
	if err := m.sh(t, `cp 7/message.eml x.eml && cmp 7/message.eml x.eml && test $(stat -c %s x.eml) = 25`); err != nil {
		t.Error(err)
	}
	m.has(t, string(smallMessage))
	if got := m.said(t, "dates"); got != "7" { // which nobody has told the mount
		t.Errorf("dates %s", got)
	}
	// Changed on the way, it is another message.
	if err := m.sh(t, `cp 7/message.eml .x && echo more >>.x && mv .x y.eml; head -c 18 7/message.eml >z.eml`); err != nil {
		t.Error(err)
	}
	m.has(t, string(smallMessage), string(smallMessage)+"more\n", string(smallMessage[:18]))
}
