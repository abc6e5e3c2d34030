package mail

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestSafeName(t *testing.T) {
	long := strings.Repeat("ä", 200)
	for _, c := range []struct{ name, want string }{
		{"report.pdf", "report.pdf"},
		{"a/b.txt", "a_b.txt"},
		{"../../etc/passwd", ".._.._etc_passwd"},
		{`C:\docs\a.doc`, "a.doc"},
		{`a\`, "a_"},
		{"", "unnamed"}, {" \t", "unnamed"}, {"\u202e", "unnamed"},
		{".", "_"}, {"..", "__"}, {" .. ", "__"}, {"...", "___"}, {"-rf.txt", "_rf.txt"}, {"a\U000E0041\u00ad\u3164\u2028b", "ab"}, {"\u0600a\u2764\ufe0f", "\u0600a\u2764\ufe0f"},
		{"z" + strings.Repeat("\u0301", 50) + ".txt", "z" + strings.Repeat("\u0301", 8) + ".txt"}, {"\xc0\xae\xc0\xae\xc0\xafpasswd", "\uFFFDpasswd"},
		{"exe\u202etxt.", "exetxt."},
		{"a\u200bb\ufeffc\u2066d\u061ce", "abcde"},
		{"a\nb\x00c\x1bd", "a bcd"},
		{"\xff.txt", "\uFFFD.txt"},
		{" a.txt ", "a.txt"},
		{long + ".pdf", strings.Repeat("ä", 125) + ".pdf"},
		{long, strings.Repeat("ä", 127)},
		{strings.Repeat("a", 300) + ".not an extension", strings.Repeat("a", 255)},
	} {
		if got := SafeName(c.name); got != c.want {
			t.Errorf("%q: %q, want %q", c.name, got, c.want)
		}
	}
}

func checkName(t *testing.T, name string) {
	t.Helper()
	if name == "" || name == "." || name == ".." || len(name) > 255 || !utf8.ValidString(name) || strings.TrimSpace(name) != name {
		t.Fatalf("unsafe name %q", name)
	}
	for _, r := range name {
		if r == '/' || unicode.IsControl(r) || isInvisible(r) {
			t.Fatalf("%U in name %q", r, name)
		}
	}
}

func FuzzSafeName(f *testing.F) {
	for _, s := range []string{"a.txt", "..", `\`, "\u202e", strings.Repeat("ä.", 200), "a" + strings.Repeat(" ", 300) + ".b", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name := SafeName(s)
		checkName(t, name)
		if again := SafeName(name); again != name {
			t.Fatalf("%q becomes %q when made safe again", name, again)
		}
	})
}

func TestUniqueNames(t *testing.T) {
	// Names that only differ where they are cut, and ones that collide with
	// the numbered form of others.
	long := strings.Repeat("x", 260) + ".txt"
	var parts []string
	for _, n := range []string{long, long, "a (2).b", "a.b", "a.b", "a.b", "A.b"} {
		parts = append(parts, part(`application/pdf; name="`+n+`"`, ""))
	}
	root := Parse([]byte(multi("mixed", "y", parts...)))
	want := []string{strings.Repeat("x", 251) + ".txt", strings.Repeat("x", 247) + " (2).txt", "a (2).b", "a.b", "a (3).b", "a (4).b", "A.b"}
	for i, a := range root.Attachments() {
		if a.Name != want[i] {
			t.Errorf("%q, want %q", a.Name, want[i])
		}
	}
}

func TestFolderName(t *testing.T) {
	long := strings.Repeat("ä", 200)
	for _, c := range []struct {
		component string
		child     bool
		want      string
	}{
		{"INBOX", true, "INBOX"}, {"Entwürfe", true, "Entwürfe"},
		{"a/b", true, "a%2Fb"}, {".", true, "%2E"}, {"..", true, "%2E%2E"}, {"...", true, "..."},
		{"", true, "%"}, {"%", true, "%25"}, {"100%", true, "100%"}, {"%2F", true, "%252F"}, {"%zz", true, "%zz"},
		{"a\x00\n", true, "a%00%0A"}, {"\u202e", true, "%E2%80%AE"}, {"\xff", true, "%FF"}, {"\u0085", true, "%C2%85"},
		{"2024", true, "2024.folder"}, {"2024", false, "2024"},
		{"2024.folder", true, "2024%2Efolder"}, {"2024.folder", false, "2024.folder"},
		{"2024.folder.folder", true, "2024.folder%2Efolder"},
		{"x.folder", true, "x.folder"}, {"٢", true, "٢"},
		{"-rf", true, "%2Drf"}, {"a-b", true, "a-b"}, {"a\u200b\u2028", true, "a%E2%80%8B%E2%80%A8"}, {"\x1b[31m", true, "%1B[31m"},
		{long, true, strings.Repeat("ä", 110) + "%7E" + fmt.Sprintf("%x", sha256.Sum256([]byte(long)))[:32]},
	} {
		if got := FolderName(c.component, c.child); got != c.want {
			t.Errorf("%q, %v: %q, want %q", c.component, c.child, got, c.want)
		}
	}
}

func TestParseFolderName(t *testing.T) {
	for _, c := range []struct {
		name  string
		child bool
		want  string
		ok    bool
	}{
		{"Größe & Maß", true, "Größe & Maß", true}, {"a%2Fb", true, "a/b", true}, {"%25", true, "%", true}, {"%", false, "", true},
		{"2024.folder", true, "2024", true}, {"2024.folder", false, "2024.folder", true},
		{"2024%2Efolder", true, "2024.folder", true}, {"2024%2Efolder", false, "", false},
		{"2024", false, "2024", true}, {"2024", true, "", false}, // a message
		{"a%41", true, "", false}, {"a\n", true, "", false}, {"-rf", true, "", false}, {"\xff", true, "", false},
		{FolderName(strings.Repeat("a", 300), true), true, "", false}, // cut
	} {
		if got, ok := ParseFolderName(c.name, c.child); got != c.want || ok != c.ok {
			t.Errorf("%q, %v: %q, %v, want %q, %v", c.name, c.child, got, ok, c.want, c.ok)
		}
	}
}

func FuzzFolderName(f *testing.F) {
	for _, s := range []string{"", "%", "%2", "%/", "..", "12", "12.folder", "12.folder.folder", "\xff%ff", "a%2fb"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, component string, child bool) {
		name := FolderName(component, child)
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || !utf8.ValidString(name) {
			t.Fatalf("%q is no file name: %q", component, name)
		}
		if child && isDigits(name) {
			t.Fatalf("%q looks like a UID: %q", component, name)
		}
		if len(name) > maxName || name[0] == '-' || Plain(name) != name {
			t.Fatalf("%q is shown as %q", component, name)
		}
		if len(name) > maxName-4 {
			return // perhaps cut
		}
		if back, ok := ParseFolderName(name, child); !ok || back != component {
			t.Fatalf("%q becomes %q, and that %q", component, name, back)
		}
	})
}
