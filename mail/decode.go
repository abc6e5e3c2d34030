package mail

// Decoder undoes a Content-Transfer-Encoding (RFC 2045 §6) piece by piece. It
// is a small value: a copy of it is a snapshot, from which a reader can go on
// later. The zero Decoder passes bytes unchanged.
//
// It is as lenient as Python's email package, and never fails: base64 skips
// what is not of its alphabet and ends at the padding, so that a mailing
// list's footer behind it does no harm; quoted-printable keeps what is not a
// valid escape.
type Decoder struct {
	kind encodingKind

	// base64 and uuencode: the bits that do not make whole bytes yet, of n
	// characters; pads counts "=" signs.
	bits uint32
	n    uint8
	pads uint8

	state uint8 // quoted-printable and uuencode: one of the constants below
	held  byte  // quoted-printable: the first digit of an escape
	left  uint8 // uuencode: bytes to come on this line; in a "begin" line: how much of it was seen
}

type encodingKind uint8

const (
	encIdentity encodingKind = iota
	encBase64
	encQP
	encUU
)

// NewDecoder returns a Decoder for the value of a Content-Transfer-Encoding
// field. An unknown encoding is passed unchanged.
func NewDecoder(encoding string) Decoder {
	return Decoder{kind: kindOf(encoding)}
}

func kindOf(encoding string) encodingKind {
	switch squeeze(encoding) { // some programs write quoted_printable
	case "base64":
		return encBase64
	case "quotedprintable":
		return encQP
	case "xuuencode", "xuue", "uuencode", "uue":
		return encUU
	}
	return encIdentity
}

// Identity says whether bytes pass unchanged (7bit, 8bit, binary, unknown).
func (d Decoder) Identity() bool { return d.kind == encIdentity }

// Decode appends the decoded form of src to dst. last says that nothing
// follows. The result of all calls together does not depend on where the
// pieces were cut.
func (d *Decoder) Decode(dst, src []byte, last bool) []byte {
	switch d.kind {
	case encBase64:
		return d.base64(dst, src, last)
	case encQP:
		return d.quotedPrintable(dst, src, last)
	case encUU:
		return d.uuencode(dst, src, last)
	}
	return append(dst, src...)
}

// DecodedSize estimates the decoded size in bytes from Size and Encoding. It
// is exact where Decoder.Identity holds.
func (p *Part) DecodedSize() int64 {
	switch kindOf(p.Encoding) {
	case encBase64:
		return p.Size / 78 * 57 // lines of 76 characters and CRLF
	case encUU:
		return p.Size / 63 * 45 // lines of 61 characters and CRLF
	}
	return p.Size
}

// base64Value maps a byte to its six bits, or to 0xff.
var base64Value = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = byte(i)
	}
	return t
}()

const base64Ended = 4 // pads, once the padding was complete

func (d *Decoder) base64(dst, src []byte, last bool) []byte {
	for i := 0; i < len(src) && d.pads != base64Ended; {
		// The usual case, four good characters at a time.
		for d.n == 0 && i+4 <= len(src) {
			a, b, c, e := base64Value[src[i]], base64Value[src[i+1]], base64Value[src[i+2]], base64Value[src[i+3]]
			if (a|b|c|e)&0xc0 != 0 {
				break
			}
			dst = append(dst, a<<2|b>>4, b<<4|c>>2, c<<6|e)
			i += 4
		}
		if i == len(src) {
			break
		}
		ch := src[i]
		i++
		if ch == '=' {
			if d.n >= 2 {
				if d.pads++; d.n+d.pads >= 4 {
					dst = d.flush(dst)
					d.pads = base64Ended
				}
			}
			continue
		}
		v := base64Value[ch]
		if v == 0xff {
			continue
		}
		d.pads = 0
		d.bits = d.bits<<6 | uint32(v)
		if d.n++; d.n == 4 {
			dst = append(dst, byte(d.bits>>16), byte(d.bits>>8), byte(d.bits))
			d.bits, d.n = 0, 0
		}
	}
	if last && d.pads != base64Ended {
		dst = d.flush(dst)
	}
	return dst
}

// flush writes the whole bytes of a group of less than four characters.
func (d *Decoder) flush(dst []byte) []byte {
	switch d.n {
	case 2:
		dst = append(dst, byte(d.bits>>4))
	case 3:
		dst = append(dst, byte(d.bits>>10), byte(d.bits>>2))
	}
	d.bits, d.n = 0, 0
	return dst
}

// States of quoted-printable (RFC 2045 §6.7).
const (
	qpText  = iota
	qpEqual // after "="
	qpHex   // after "=" and one digit
	qpCR    // after "=" CR
)

func (d *Decoder) quotedPrintable(dst, src []byte, last bool) []byte {
	for i := 0; i < len(src); {
		c := src[i]
		switch d.state {
		case qpText:
			start := i
			for i < len(src) && src[i] != '=' {
				i++
			}
			dst = append(dst, src[start:i]...)
			if i < len(src) {
				d.state = qpEqual
				i++
			}
		case qpEqual:
			var took bool
			if dst, took = d.qpAfterEqual(dst, c); took {
				i++
			}
		case qpHex:
			if lo := unhex(c); lo >= 0 {
				dst = append(dst, byte(unhex(d.held)<<4|lo))
				i++
			} else {
				dst = append(dst, '=', d.held)
			}
			d.state = qpText
		case qpCR:
			if c == '\n' {
				i++
			}
			d.state = qpText
		}
	}
	if last {
		if d.state == qpHex {
			dst = append(dst, '=', d.held)
		}
		d.state = qpText
	}
	return dst
}

// qpAfterEqual looks at what stands behind "=", and tells whether that belongs to it.
func (d *Decoder) qpAfterEqual(dst []byte, c byte) (_ []byte, took bool) {
	switch {
	case c == '\n':
		d.state = qpText
	case c == '\r':
		d.state = qpCR
	case unhex(c) >= 0:
		d.state, d.held = qpHex, c
	default:
		d.state = qpText
		return append(dst, '='), c == '=' // some programs write "==" for "="
	}
	return dst, true
}

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// States of uuencode (POSIX, uuencode(1)).
const (
	uuSearch = iota // at a line that may be "begin MODE NAME"
	uuSkip          // in a line that does not matter, before the data
	uuBegin         // in the rest of the begin line
	uuLine          // at the start of a data line
	uuData          // in a data line
	uuRest          // behind the data of a line
	uuEnd           // behind the last line
)

const uuBeginWord = "begin "

func (d *Decoder) uuencode(dst, src []byte, last bool) []byte {
	for _, c := range src {
		switch d.state {
		case uuSearch:
			d.uuSearchIn(c)
		case uuSkip:
			if c == '\n' {
				d.state = uuSearch
			}
		case uuBegin, uuRest:
			if c == '\n' {
				d.state = uuLine
			}
		case uuLine:
			d.uuStartLine(c)
		case uuData:
			if c == '\n' {
				// White space at the end of the line was lost: it stood for
				// zeros.
				for d.left > 0 {
					dst = d.uuChar(dst, ' ')
				}
				d.state = uuLine
			} else if c != '\r' {
				if dst = d.uuChar(dst, c); d.left == 0 {
					d.state = uuRest
				}
			}
		}
	}
	if last {
		for d.state == uuData && d.left > 0 {
			dst = d.uuChar(dst, ' ')
		}
		d.state = uuEnd
	}
	return dst
}

// uuSearchIn looks for the word that begins the first line.
func (d *Decoder) uuSearchIn(c byte) {
	switch {
	case c == uuBeginWord[d.left]:
		if d.left++; int(d.left) == len(uuBeginWord) {
			d.left, d.state = 0, uuBegin
		}
	case c == '\n':
		d.left = 0
	default:
		d.left, d.state = 0, uuSkip
	}
}

// uuStartLine takes the first character of a line, which tells how long its data is.
func (d *Decoder) uuStartLine(c byte) {
	switch {
	case c == '\r' || c == '\n':
	case c == 'e' || c == ' ' || c == '`':
		d.state = uuEnd
	case c > ' ' && c < '`':
		d.left, d.state = c-' ', uuData
	default:
		d.state = uuRest
	}
}

// uuChar takes one character of a data line.
func (d *Decoder) uuChar(dst []byte, c byte) []byte {
	d.bits = d.bits<<6 | uint32(c-' ')&0x3f
	if d.n++; d.n < 4 {
		return dst
	}
	for _, b := range [...]byte{byte(d.bits >> 16), byte(d.bits >> 8), byte(d.bits)} {
		if d.left > 0 {
			dst = append(dst, b)
			d.left--
		}
	}
	d.bits, d.n = 0, 0
	return dst
}

// decodeAll undoes a transfer encoding of a whole body.
func decodeAll(encoding string, body []byte) []byte {
	d := NewDecoder(encoding)
	if d.Identity() {
		return body
	}
	return d.Decode(make([]byte, 0, len(body)), body, true)
}
