package imapbackend

import (
	"slices"
	"strings"
	"testing"

	"imapfs/mail"
)

// TestRights has servers tell with SELECT and MYRIGHTS what may be done in a folder. The
// answer to SELECT comes when all is there that is sent behind it.
func TestRights(t *testing.T) {
	const permanent = `(\Deleted \Seen \Flagged)`
	rights := func(insert, create, del, flag bool) mail.Rights {
		return mail.Rights{Insert: insert, Create: create, Delete: del, Flag: flag}
	}
	told := func(letters string) string { return "* MYRIGHTS Other " + letters + "\r\nTAG OK done\r\n" }
	for what, c := range map[string]struct {
		caps, permanent, code string
		myRights              string
		want                  mail.Rights
	}{
		"no ACL":                        {"UIDPLUS", permanent, "READ-WRITE", "", allRights},
		"all":                           {"UIDPLUS ACL", permanent, "READ-WRITE", told("lrswipkxtecda"), allRights},
		"no i":                          {"UIDPLUS ACL", permanent, "READ-WRITE", told("lrswkxtecd"), rights(false, true, true, true)},
		"no k":                          {"UIDPLUS ACL", permanent, "READ-WRITE", told("lrswixtecd"), rights(true, false, true, true)},
		"no t":                          {"UIDPLUS ACL", permanent, "READ-WRITE", told("lrswiked"), rights(true, true, false, true)},
		"no e":                          {"UIDPLUS ACL", permanent, "READ-WRITE", told("lrswiktd"), rights(true, true, false, true)},
		"no s":                          {"UIDPLUS ACL", permanent, "READ-WRITE", told("lrwikte"), allRights},
		"no w":                          {"UIDPLUS ACL", permanent, "READ-WRITE", told("lrsikte"), allRights},
		"neither s nor w":               {"UIDPLUS ACL", permanent, "READ-WRITE", told("lrikte"), rights(true, true, true, false)},
		"RFC 2086":                      {"UIDPLUS ACL", permanent, "READ-WRITE", told(`"acdilrsw"`), allRights},
		"RFC 2086, no d":                {"UIDPLUS ACL", permanent, "READ-WRITE", told("lrswic"), rights(true, true, false, true)},
		"RFC 2086, no c":                {"UIDPLUS ACL", permanent, "READ-WRITE", told("lrswid"), rights(true, false, true, true)},
		"i alone":                       {"UIDPLUS ACL", "()", "READ-WRITE", told("lri"), rights(true, false, false, false)},
		"k alone":                       {"UIDPLUS ACL", "()", "READ-ONLY", told("lrkc"), rights(false, true, false, false)},
		"x alone":                       {"UIDPLUS ACL", "()", "READ-ONLY", told("lrxcd"), rights(false, false, false, false)},
		"SELECT denies all":             {"UIDPLUS ACL", permanent, "READ-ONLY", told("lrswipxte"), rights(false, false, false, false)},
		"SELECT denies to delete":       {"UIDPLUS ACL", `(\Seen)`, "READ-WRITE", told("lrswikxte"), rights(true, true, false, true)},
		"neither UIDPLUS nor MOVE":      {"ACL", permanent, "READ-WRITE", told("lrswikxte"), rights(true, true, false, true)},
		"another name, then this one":   {"UIDPLUS ACL", permanent, "READ-WRITE", "* MYRIGHTS INBOX lr\r\n* MYRIGHTS \"Other\" {4}\r\nlrsw\r\nTAG OK done\r\n", rights(false, false, false, true)},
		"NO":                            {"UIDPLUS ACL", permanent, "READ-WRITE", "TAG NO no\r\n", allRights},
		"BAD":                           {"UIDPLUS ACL", permanent, "READ-WRITE", "TAG BAD what\r\n", allRights},
		"NO, with rights":               {"UIDPLUS ACL", permanent, "READ-WRITE", "* MYRIGHTS Other lr\r\nTAG NO no\r\n", allRights},
		"nothing":                       {"UIDPLUS ACL", permanent, "READ-WRITE", "TAG OK done\r\n", allRights},
		"no rights":                     {"UIDPLUS ACL", permanent, "READ-WRITE", told(`""`), allRights},
		"rights without reading":        {"UIDPLUS ACL", permanent, "READ-WRITE", told("ls"), allRights},
		"no letters":                    {"UIDPLUS ACL", permanent, "READ-WRITE", told("lr/w"), allRights},
		"a list":                        {"UIDPLUS ACL", permanent, "READ-WRITE", told("(l r)"), allRights},
		"of another folder":             {"UIDPLUS ACL", permanent, "READ-WRITE", "* MYRIGHTS INBOX lr\r\nTAG OK done\r\n", allRights},
		"what cannot be read":           {"UIDPLUS ACL", permanent, "READ-WRITE", "* MYRIGHTS \"Other lr\r\nTAG OK done\r\n", allRights},
		"no MYRIGHTS, and no READ-ONLY": {"UIDPLUS ACL", "()", "READ-WRITE", "TAG NO no\r\n", rights(false, false, false, false)},
		"the connection breaks":         {"UIDPLUS ACL", permanent, "READ-WRITE", cut, allRights},
	} {
		t.Run(what, func(t *testing.T) {
			held := ""
			s := &script{caps: "IMAP4rev1 ESEARCH " + c.caps}
			s.answer = func(tag, command string) string {
				switch {
				case command == `SELECT "Other"`:
					held = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 4] x\r\n* OK [PERMANENTFLAGS " + c.permanent + "] x\r\n" + tag + " OK [" + c.code + "] done\r\n"
					return silent
				case strings.HasPrefix(command, "MYRIGHTS"):
					held += strings.ReplaceAll(c.myRights, "TAG", tag)
					if text, isCut := strings.CutSuffix(held, cut); isCut {
						held = ""
						return text + cut
					}
					return silent
				case held != "" && strings.HasPrefix(command, "UID SEARCH"):
					all := held + s.usual(tag, command)
					held = ""
					return all
				}
				return ""
			}
			b := connect(t, s.start(t))
			list := func(folder string) {
				t.Helper()
				if _, err := b.Messages(t.Context(), folder); err != nil {
					t.Fatal(err)
				}
			}
			list("Other")
			eventually(t, "the rights are known", func() bool { return b.Rights("Other") == c.want })
			list("Again") // on the same connection, and none of this folder
			want := 1
			if !strings.Contains(c.caps, "ACL") {
				want = 0
			}
			if n := s.count(`MYRIGHTS "Other"`); n != want {
				t.Errorf("MYRIGHTS was sent %d times", n)
			}
			if got := b.Rights("Other"); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// TestRightsAreAskedForOnce goes to a folder again and again on one connection. Its rights
// are asked for once, and anew when SELECT says something else; those of one that is not
// there, when it is.
func TestRightsAreAskedForOnce(t *testing.T) {
	permanent, letters, there := `(\Seen)`, "lrsi", false
	s := &script{caps: "IMAP4rev1 UIDPLUS ESEARCH ACL"}
	s.answer = func(tag, command string) string {
		switch {
		case command == `SELECT "Late"` && !there, command == `MYRIGHTS "Late"` && !there:
			return tag + " NO no such folder\r\n"
		case command == `SELECT "Other"`:
			return strings.Replace(s.usual(tag, command), `(\Deleted)`, permanent, 1)
		case command == `MYRIGHTS "Refused"`:
			return tag + " NO no\r\n"
		case strings.HasPrefix(command, "MYRIGHTS"):
			return "* " + command + " " + letters + "\r\n" + tag + " OK done\r\n"
		}
		return ""
	}
	b := connect(t, s.start(t))
	visit := func(folder string) {
		err := b.pool.with(need{folder: folder}, func(l *lease) error { return l.noop() })
		if err != nil && folder != "Late" {
			t.Fatal(err)
		}
	}
	for range 3 {
		for _, folder := range []string{"Other", "Refused", "Late"} {
			visit(folder)
		}
	}
	set := func(f func()) {
		s.mu.Lock()
		defer s.mu.Unlock()
		f()
	}
	is := func(want mail.Rights) {
		t.Helper()
		eventually(t, "the rights are those of now", func() bool { return b.Rights("Other") == want })
	}
	is(mail.Rights{Insert: true, Flag: true})
	set(func() { permanent, letters, there = `(\Deleted \Seen)`, "lrskte", true })
	visit("Other")
	is(allRights) // what was told before counts no more
	visit("Late")
	visit("Other")
	is(mail.Rights{Create: true, Delete: true, Flag: true})
	for range 3 {
		for _, folder := range []string{"Other", "Refused", "Late"} {
			visit(folder)
		}
	}
	set(func() {
		got := slices.DeleteFunc(slices.Clone(s.log), func(c string) bool { return !strings.HasPrefix(c, "MYRIGHTS") })
		slices.Sort(got)
		// Late was refused three times, and asked for each time.
		want := []string{`MYRIGHTS "Late"`, `MYRIGHTS "Late"`, `MYRIGHTS "Late"`, `MYRIGHTS "Late"`, `MYRIGHTS "Other"`, `MYRIGHTS "Other"`, `MYRIGHTS "Refused"`}
		if !slices.Equal(got, want) || s.n != 1 {
			t.Errorf("on %d connections: %q", s.n, got)
		}
	})
}

// TestRightsAreNotAskedFor has mounts that only read, which have none.
func TestRightsAreNotAskedFor(t *testing.T) {
	s := &script{caps: "IMAP4rev1 UIDPLUS ESEARCH ACL"}
	cfg := s.start(t)
	cfg.ReadOnly = true
	listed(t, cfg)
	if n := s.count("MYRIGHTS"); n > 0 {
		t.Errorf("MYRIGHTS was sent %d times", n)
	}
}
