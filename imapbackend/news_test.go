package imapbackend

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const threeFolders = "* LIST () \"/\" INBOX\r\n%s* LIST () \"/\" A\r\n%s* LIST () \"/\" B\r\n%s"

// TestNewsOfOtherFolders has messages come into two folders that the only
// connection has not selected.
func TestNewsOfOtherFolders(t *testing.T) {
	const fourth = "(MESSAGES 4 UIDNEXT 5 UIDVALIDITY 7)\r\n"
	for name, c := range map[string]struct {
		caps     string
		list     string // answer to LIST with RETURN (STATUS ...)
		statuses int    // that are asked for one by one
	}{
		"LIST-STATUS":            {"LIST-EXTENDED LIST-STATUS", fmt.Sprintf(threeFolders, "", "* STATUS A "+fourth, "* STATUS B "+fourth) + "%s OK done\r\n", 0},
		"LIST-STATUS without B":  {"LIST-EXTENDED LIST-STATUS", fmt.Sprintf(threeFolders, "", "* STATUS A "+fourth, "") + "%s OK done\r\n", 1},
		"LIST-STATUS is refused": {"LIST-EXTENDED LIST-STATUS", "%s NO [SERVERBUG] no\r\n", 2},
		"STATUS":                 {"", "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			come, held := false, ""
			s := &script{caps: strings.TrimSpace("IMAP4rev1 UIDPLUS ESEARCH " + c.caps)}
			s.answer = func(tag, command string) string {
				switch {
				case strings.HasPrefix(command, "LIST") && strings.Contains(command, "STATUS"):
					return fmt.Sprintf(c.list, tag)
				case strings.HasPrefix(command, "LIST"):
					return fmt.Sprintf(threeFolders, "", "", "") + tag + " OK done\r\n"
				case strings.HasPrefix(command, "STATUS"):
					// All of them have to be there before the first is answered.
					folder := strings.Fields(command)[1]
					held += "* STATUS " + folder + " " + fourth + tag + " OK done\r\n"
					if strings.Count(held, "* STATUS") < c.statuses {
						return silent
					}
					all := held
					held = ""
					return all
				case come && strings.HasPrefix(command, "UID SEARCH"):
					return fmt.Sprintf("* ESEARCH (TAG %q) UID ALL 1:4\r\n%s OK done\r\n", tag, tag)
				}
				return ""
			}
			b := connect(t, s.start(t))
			for _, folder := range []string{"A", "B", "INBOX"} {
				if _, err := b.Messages(t.Context(), folder); err != nil {
					t.Fatal(err)
				}
			}
			s.mu.Lock()
			come = true
			s.mu.Unlock()
			if err := b.askForNews(); err != nil {
				t.Fatal(err)
			}
			for _, folder := range []string{"A", "B"} {
				eventually(t, folder+" has the new message", func() bool {
					l, err := b.Messages(t.Context(), folder)
					return err == nil && len(l.UIDs) == 4
				})
			}
			if n := s.count("STATUS"); n != c.statuses {
				t.Errorf("%d STATUS, want %d", n, c.statuses)
			}
		})
	}
}

// TestNothingToAskFor polls when all that is known is selected.
func TestNothingToAskFor(t *testing.T) {
	s := &script{caps: "IMAP4rev1 UIDPLUS ESEARCH LIST-EXTENDED LIST-STATUS"}
	cfg := s.start(t)
	cfg.Poll = 10 * time.Millisecond
	listed(t, cfg)
	s.waitFor(t, 4, "LIST")
	if n := s.count("LIST \"\" \"*\" RETURN"); n > 0 {
		t.Errorf("the state of folders was asked for %d times", n)
	}
}
