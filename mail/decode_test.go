package mail

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

var decodeTests = []struct{ encoding, body, want string }{
	{"7bit", "a=20b\r\n", "a=20b\r\n"},
	{"no-such", "YQ==", "YQ=="},
	{"BASE64", "aGVsbG8=\r\n", "hello"},
	{"base64", "aGVs\r\nbG8gd29y\r\nbGQ=", "hello world"},
	{"base64", "aG!V*s bG8=", "hello"},
	{"base64", "aGVsbG8", "hello"},
	{"base64", "aGVsbG8=\r\n-- \r\nfooter", "hello"},
	{"base64", "aGVsb", "hel"},
	{"base64", "YQ=YQ==", "a\x06\x10"},
	{"base64", "==aGVs", "hel"},
	{"base64", "", ""},
	{"quoted-printable", "a=3D=3d=C3=A4", "a==ä"},
	{"quoted-printable", "soft=\r\nbreak=\nx", "softbreakx"},
	{"quoted-printable", "a=XY=4=", "a=XY=4"},
	{"quoted-printable", "a==b", "a=b"},
	{"quoted-printable", "a=4", "a=4"},
	{"quoted-printable", "a=4=41", "a=4A"},
	{"quoted-printable", "kept  \r\n", "kept  \r\n"},
	{"x-uuencode", "text\nbegin 644 a\n#0V%T\n`\nend\n", "Cat"},
	{"x-uue", "begin 644 a\r\n%:&5L;&\\ \r\n \r\nend\r\n", "hello"},
	{"uuencode", "begin 644 a\n#````\n!80\n`\nend\nmore", "\x00\x00\x00a"},
	{"uuencode", "begin 644 a\n\n\x80junk\n#0V%T", "Cat"},
	{"uuencode", "no begin line\nbeg\n", ""},
}

// TestDecoder also cuts each body in three at every two places: the result
// must not depend on that.
func TestDecoder(t *testing.T) {
	for _, c := range decodeTests {
		body := []byte(c.body)
		for i := 0; i <= len(body); i++ {
			for j := i; j <= len(body); j++ {
				d := NewDecoder(c.encoding)
				got := d.Decode(nil, body[:i], false)
				snapshot := d
				got = d.Decode(got, body[i:j], false)
				got = d.Decode(got, body[j:], true)
				if string(got) != c.want {
					t.Fatalf("%s %q cut at %d and %d: %q, want %q", c.encoding, c.body, i, j, got, c.want)
				}
				if tail := snapshot.Decode(nil, body[i:], true); !bytes.HasSuffix(got, tail) {
					t.Fatalf("%s %q from a snapshot at %d: %q", c.encoding, c.body, i, tail)
				}
			}
		}
	}
}

func TestDecodedSize(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 57*100)
	var lines strings.Builder
	for enc := base64.StdEncoding.EncodeToString(data); enc != ""; enc = enc[76:] {
		lines.WriteString(enc[:76] + "\r\n")
	}
	for encoding, want := range map[string]int64{"base64": 5700, "7bit": int64(lines.Len()), "quoted-printable": int64(lines.Len()), "x-uue": int64(lines.Len()) / 63 * 45} {
		if got := (&Part{Encoding: encoding, Size: int64(lines.Len())}).DecodedSize(); got != want {
			t.Errorf("%s: %d, want %d", encoding, got, want)
		}
	}
	if !NewDecoder("8BIT").Identity() || NewDecoder("base64").Identity() {
		t.Error("Identity is wrong")
	}
}

func BenchmarkBase64(b *testing.B) {
	line := strings.Repeat("QUJD", 19) + "\r\n"
	src := []byte(strings.Repeat(line, 10000))
	dst := make([]byte, 0, len(src))
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		d := NewDecoder("base64")
		dst = d.Decode(dst[:0], src, true)
	}
}
