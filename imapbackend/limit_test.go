package imapbackend

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"imapfs/mail"
)

// repeat is an answer that says line n times. It is sent as it is made: the
// memory of these tests is the client's.
type repeat struct {
	line string
	n    int
}

func (r repeat) write(w io.Writer) {
	b := bufio.NewWriterSize(w, 1<<20)
	for range r.n {
		if _, err := b.WriteString(r.line); err != nil {
			return // the client has had enough
		}
	}
	b.Flush()
}

// deep is how far a message is nested in others.
const deep = 100_000

// floods are answers of which a client that believes the server keeps too much.
var floods = map[string]struct {
	to    string // command
	start string
	each  repeat
}{
	"4 GiB literal": {"UID FETCH", "* 2 FETCH (UID 2 BODY[] {4294967296}\r\n", repeat{"xxxxxxxx", 1e8}},
	"nested 100,000 deep": {"UID FETCH", "* 2 FETCH (UID 2 BODYSTRUCTURE " + strings.Repeat("(", deep) + goodStructure + strings.Repeat(` "mixed")`, deep) + ")\r\n",
		repeat{}},
	"messages 100,000 deep": {"UID FETCH", "* 2 FETCH (UID 2 BODYSTRUCTURE " + strings.Repeat(`("message" "rfc822" NIL NIL NIL "7bit" 1 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) `, deep) + goodStructure + strings.Repeat(" 1)", deep) + ")\r\n",
		repeat{}},

	"LIST":                      {"LIST", "", repeat{"* LIST () \"/\" x\r\n", 1e7}},
	"LIST attributes":           {"LIST", "* LIST (", repeat{`\a `, 1e8}},
	"LIST quoted":               {"LIST", "* LIST () \"/\" \"", repeat{"xxxxxxxx", 1e8}},
	"LIST atom":                 {"LIST", "* LIST () \"/\" ", repeat{"xxxxxxxx", 1e8}},
	"LIST literal":              {"LIST", "* LIST () \"/\" {4294967296}\r\n", repeat{"xxxxxxxx", 1e8}},
	"LIST literals":             {"LIST", "* LIST () \"/\" {16}\r\n", repeat{"xxxxxxxxxxxxxxxx {16}\r\n", 1e8}},
	"LIST lists":                {"LIST", "* LIST () \"/\" x ", repeat{"(", 1e8}},
	"10 million untagged lines": {"UID SEARCH", "", repeat{"* 1 EXISTS\r\n", 1e7}},
	"EXPUNGE":                   {"UID SEARCH", "", repeat{"* 1 EXPUNGE\r\n", 1e7}},
	"status":                    {"UID SEARCH", "", repeat{"* OK x\r\n", 1e7}},
	"status text":               {"UID SEARCH", "* OK ", repeat{"xxxxxxxx", 1e8}},
	"status code":               {"UID SEARCH", "* OK [X ", repeat{"xxxxxxxx", 1e8}},
	"hidden in a code":          {"UID SEARCH", "* OK [X \r\n* 1 FETCH (BODY[] {60000000}\r\n] x\r\n* 1 FETCH (BODYSTRUCTURE ", repeat{"((((((((", 1e7}},
	"hidden in a string":        {"UID SEARCH", "* 1 FETCH (FLAGS (\"\r\n* 1 FETCH (BODY[] {60000000}\r\n", repeat{"xxxxxxxx", 1e8}},
	"tag":                       {"UID SEARCH", "", repeat{"xxxxxxxx", 1e8}},
	"capabilities":              {"UID SEARCH", "* CAPABILITY", repeat{" a", 1e8}},
	"SEARCH":                    {"UID SEARCH", "* SEARCH", repeat{" 1 3 5 7 9 2 4", 1e7}},
	"SEARCH lines":              {"UID SEARCH", "", repeat{"* SEARCH 1 3 5 7 9\r\n", 1e7}},
	"ESEARCH":                   {"UID SEARCH", "* ESEARCH (TAG \"T4\") UID ALL 1", repeat{",1", 1e8}},
	"SEARCH string":             {"UID SEARCH", "* ESEARCH (TAG {4294967296}\r\n", repeat{"xxxxxxxx", 1e8}},
	"FETCH flags":               {"UID FETCH", "", repeat{"* 5 FETCH (FLAGS ())\r\n", 1e7}},
	"FETCH items":               {"UID FETCH", "* 2 FETCH (UID 2", repeat{" FLAGS ()", 1e8}},
	"FETCH contents":            {"UID FETCH", "* 2 FETCH (UID 2", repeat{" BODY[] {16}\r\nxxxxxxxxxxxxxxxx", 1e8}},
	"FETCH content":             {"UID FETCH", "* 2 FETCH (UID 2 BODY[] {9999999999999}\r\n", repeat{"xxxxxxxx", 1e8}},
	"FETCH quoted":              {"UID FETCH", "* 2 FETCH (UID 2 BODY[] \"", repeat{"xxxxxxxx", 1e8}},
	"FETCH other content":       {"UID FETCH", "", repeat{"* 9 FETCH (BODY[] {65536}\r\n" + strings.Repeat("x", 65536) + ")\r\n", 1e6}},
	"BODYSTRUCTURE lists":       {"UID FETCH", "* 2 FETCH (UID 2 BODYSTRUCTURE ", repeat{"(", 1e8}},
	"BODYSTRUCTURE literal":     {"UID FETCH", "* 2 FETCH (UID 2 BODYSTRUCTURE ({4294967296}\r\n", repeat{"xxxxxxxx", 1e8}},
	"BODYSTRUCTURE message":     {"UID FETCH", "* 2 FETCH (UID 2 BODYSTRUCTURE ", repeat{`("message" "rfc822" NIL NIL NIL "7bit" 1 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) `, 1e7}},
	"BODYSTRUCTURE parts":       {"UID FETCH", "* 2 FETCH (UID 2 BODYSTRUCTURE (", repeat{goodStructure, 1e7}},
	"ENVELOPE literal":          {"UID FETCH", "* 2 FETCH (UID 2 ENVELOPE ({4294967296}\r\n", repeat{"xxxxxxxx", 1e8}},
}

const floodEnv = "IMAPFS_TEST_FLOOD"

// TestFlood runs each flood in a process of its own, for its memory.
func TestFlood(t *testing.T) {
	if name := os.Getenv(floodEnv); name != "" {
		flood(t, name)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range floods {
		if f.start == "" && raceDetector() {
			continue // millions of lines take a minute each
		}
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(exe, "-test.run=^TestFlood$", "-test.timeout=2m")
			cmd.Env = append(os.Environ(), floodEnv+"="+name)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%.4000s", err, out)
			}
			for line := range strings.Lines(string(out)) {
				if peak, ok := strings.CutPrefix(line, "peak "); ok {
					t.Log(strings.TrimSpace(peak))
				}
			}
		})
	}
}

func flood(t *testing.T, name string) {
	f := floods[name]
	s := &script{}
	selected := "" // by each connection in turn; SELECT comes first on each
	s.answer = func(tag, command string) string {
		if folder, ok := strings.CutPrefix(command, "SELECT "); ok {
			selected = strings.Trim(folder, `"`)
		}
		if strings.HasPrefix(command, f.to) && selected != "Other" {
			return f.start + flooding
		}
		return ""
	}
	s.more = func(w io.Writer, tag string) {
		f.each.write(w)
		fmt.Fprintf(w, "%s OK done\r\n", tag)
	}
	cfg := s.start(t)
	cfg.Connections = 2
	b, err := Connect(t.Context(), cfg)
	if f.to == "LIST" {
		if err == nil && name != "LIST" {
			t.Error("the list of folders was believed")
		}
	} else if err != nil {
		t.Fatal(err)
	}
	if b != nil {
		defer b.Close()
		_, err = b.Messages(t.Context(), "INBOX")
		if err == nil && f.to == "UID FETCH" {
			if strings.Contains(f.start, "BODYSTRUCTURE") {
				var root *mail.Part
				if root, err = b.Structure(t.Context(), msg(2)); err == nil && root.Unsure {
					err = errMalformed // and where it ends is known
				}
			} else {
				_, err = b.Fetch(msg(2), "", 0, -1)
			}
		}
		if !errors.Is(err, errMalformed) && !errors.Is(err, errTooLarge) {
			t.Errorf("the flood ends with %v, want what was wrong with it", err)
		}
		l, oerr := b.Messages(t.Context(), "Other")
		if oerr != nil || len(l.UIDs) != 3 {
			t.Errorf("another folder: %v, %v", l, oerr)
		}
		other := mail.ID{Folder: "Other", UIDValidity: 7, UID: 2}
		if got, err := b.Fetch(other, "", 0, -1); err != nil || string(got) != rawMail {
			t.Errorf("a message in another folder: %q, %v", got, err)
		}
	}
	const most = 300 << 20
	peak, ok := peakRSS()
	fmt.Printf("peak %d MB, error %v\n", peak>>20, err)
	if ok && peak > most && !raceDetector() {
		t.Errorf("%d MB of memory at the peak, want at most %d", peak>>20, most>>20)
	}
}

// peakRSS is the most memory that this process has had, on Linux.
func peakRSS() (bytes int64, ok bool) {
	status, err := os.ReadFile(filepath.FromSlash("/proc/self/status"))
	if err != nil {
		return 0, false
	}
	_, rest, ok := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(rest, &bytes); err != nil {
		return 0, false
	}
	return bytes << 10, ok
}

// raceDetector tells whether it is on: it multiplies memory.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
