package wire

import (
	"strconv"
	"strings"
)

// Found is what one SEARCH or ESEARCH response has (RFC 9051 §7.3.4, RFC 3501
// §7.2.5).
type Found struct {
	Ranges   []Range // as they came: in any order, maybe more than once
	Extended bool    // it is an ESEARCH
	Tag      string  // of the command, which ESEARCH names; "" if it does not
	UID      bool    // it says that these are UIDs; only an ESEARCH does
	Broken   bool    // not all of it could be read
}

// IsOdd tells whether not all of it are UIDs, or can be read.
func (f Found) IsOdd() bool { return f.Broken || f.Extended && !f.UID && len(f.Ranges) > 0 }

// Range is the numbers from First to Last.
type Range struct{ First, Last uint32 }

func (a *answers) search() {
	a.most = mostSearch
	var found Found
	for !a.atEnd() && a.peek() != '(' { // (MODSEQ 12), RFC 7162
		n, err := strconv.ParseUint(a.atom(), 10, 32)
		if found.Broken = found.Broken || err != nil || n == 0; !found.Broken {
			found.add(uint32(n), uint32(n))
		}
	}
	if a.err != nil {
		found.Broken = true
	}
	a.h.Data(found)
}

// add adds a range, to the last one if it follows on that.
func (f *Found) add(first, last uint32) {
	if n := len(f.Ranges); n > 0 && f.Ranges[n-1].Last < 1<<32-1 && f.Ranges[n-1].Last+1 == first {
		f.Ranges[n-1].Last = last
		return
	}
	f.Ranges = append(f.Ranges, Range{first, last})
}

func (a *answers) esearch() {
	a.most = mostSearch
	found := Found{Extended: true}
	for !a.atEnd() {
		if a.peek() == '(' {
			if v := a.value(0); len(v.list) == 2 && strings.EqualFold(v.list[0].text, "TAG") {
				found.Tag = strings.ToUpper(v.list[1].text)
			}
			continue
		}
		name := strings.ToUpper(a.atom())
		if name == "UID" {
			found.UID = true
			continue
		}
		if name != "ALL" {
			if !a.atEnd() {
				a.value(0) // MIN, MAX, COUNT, MODSEQ and what there may be
			}
			continue
		}
		a.spaces()
		found.set(a.atom())
	}
	found.Broken = found.Broken || a.err != nil
	a.h.Data(found)
}

// set reads a sequence set (RFC 9051 §9).
func (f *Found) set(text string) {
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, ":")
		first, err := strconv.ParseUint(from, 10, 32)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(to, 10, 32)
		}
		first, last = min(first, last), max(first, last)
		if err != nil || first == 0 {
			f.Broken = true
			return
		}
		f.add(uint32(first), uint32(last))
	}
}
