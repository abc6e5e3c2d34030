package imapbackend

import (
	"bytes"
	"regexp"
)

// sieve takes out of what the server says what nobody has asked for and the
// library would take for an answer: when another client has changed the flags of
// a message, a server may say so by "* 2 FETCH (UID 7 FLAGS (\Seen))" at any
// moment (RFC 9051 §7.5.2). The library gives that to whoever waits for the
// message 7, and discards the answer proper. This package never asks for flags
// alone.
type sieve struct {
	passed bool   // what is being read is passed on
	held   []byte // of it, as long as that is not known
	spill  []byte // did not fit into the reader's space
}

// mostHeld is more than such a line has.
const mostHeld = 4096

// flagsAlone is such a line, also with CONDSTORE (RFC 7162).
var flagsAlone = regexp.MustCompile(`(?i)^\* \d+ FETCH \((?:(?:UID \d+|FLAGS \([^()]*\)|MODSEQ \(\d+\))(?: |\)\r?\n$))+$`)

// add takes in the next bytes of a response, and appends to kept, which has to
// stay within most, what can be passed on. isFetch tells whether it is a FETCH,
// as far as is known, and ended whether these bytes are its last ones.
func (s *sieve) add(kept []byte, most int, p []byte, isFetch, ended bool) []byte {
	if s.passed {
		kept = s.pass(kept, most, p)
	} else {
		s.held = append(s.held, p...)
		switch {
		case ended && isFetch && flagsAlone.Match(s.held) && bytes.Contains(bytes.ToUpper(s.held), []byte("FLAGS")):
			s.held = s.held[:0]
		case ended, !isFetch, len(s.held) > mostHeld, bytes.ContainsAny(p, `"{`):
			kept = s.pass(kept, most, s.held)
			s.held, s.passed = s.held[:0], true
		}
	}
	if ended {
		s.passed = false
	}
	return kept
}

// pass appends p to kept, or behind what does not fit there.
func (s *sieve) pass(kept []byte, most int, p []byte) []byte {
	if len(s.spill) == 0 && len(kept)+len(p) <= most {
		return append(kept, p...)
	}
	s.spill = append(s.spill, p...)
	return kept
}
