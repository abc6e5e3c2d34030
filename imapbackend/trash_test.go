package imapbackend

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"imapfs/mail"
)

// trashing is a server with a trash, in which message 2 of INBOX goes at what
// begins with gone.
func trashing(gone string, answer func(tag, command string) string) *script {
	there := true
	s := &script{caps: "IMAP4rev1 UIDPLUS MOVE SPECIAL-USE"}
	s.answer = func(tag, command string) string {
		said := answer(tag, command)
		switch {
		case strings.HasPrefix(command, "LIST"):
			return "* LIST () \"/\" INBOX\r\n* LIST (\\Trash) \"/\" \"Bin\"\r\n* LIST () \"/\" \"Old/Bin\"\r\n" + tag + " OK done\r\n"
		case strings.HasPrefix(command, gone) && (said == "" || strings.Contains(said, " OK ")):
			there = false
		case strings.HasPrefix(command, "UID COPY") && said == "":
			return tag + " OK [COPYUID 9 2 5] done\r\n"
		case strings.HasPrefix(command, "UID SEARCH UID") && there:
			return "* SEARCH 2\r\n" + tag + " OK done\r\n"
		case strings.HasPrefix(command, "UID SEARCH UID"):
			return "* SEARCH\r\n" + tag + " OK done\r\n"
		}
		return said
	}
	return s
}

func TestTrash(t *testing.T) {
	usual := func(tag, command string) string { return "" }
	refuse := func(prefix, code string) func(tag, command string) string {
		return func(tag, command string) string {
			if strings.HasPrefix(command, prefix) {
				return tag + " NO " + code + "no\r\n"
			}
			return ""
		}
	}
	lost := func(prefix, answer string) func(tag, command string) string {
		return first(1, prefix, answer+cut)
	}
	const store, expunge = `UID STORE 2 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 2"
	for _, c := range []struct {
		what, trash, folder, caps string
		answer                    func(tag, command string) string
		want                      error // nil for success
		sent                      []string
	}{
		{"MOVE", SpecialTrash, "INBOX", "", usual, nil, []string{"UID MOVE 2 Bin"}},
		{"a named one", "Old/Bin", "INBOX", "", usual, nil, []string{"UID MOVE 2 Old/Bin"}},
		{"COPY", SpecialTrash, "INBOX", "IMAP4rev1 UIDPLUS", usual, nil, []string{"UID COPY 2 Bin", store, expunge}},
		{"neither", SpecialTrash, "INBOX", "IMAP4rev1", usual, mail.ErrUnsupported, nil},
		{"in the trash", SpecialTrash, "Bin", "", usual, nil, []string{store, expunge}},
		{"no trash any more", SpecialTrash, "INBOX", "", refuse("UID MOVE", "[TRYCREATE] "), mail.ErrRefused, []string{"UID MOVE 2 Bin"}},
		{"nor a word for it", SpecialTrash, "INBOX", "", refuse("UID MOVE", "[NONEXISTENT] "), mail.ErrRefused, []string{"UID MOVE 2 Bin"}},
		{"full", SpecialTrash, "INBOX", "IMAP4rev1 UIDPLUS", refuse("UID COPY", "[OVERQUOTA] "), mail.ErrNoRoom, []string{"UID COPY 2 Bin"}},
		{"nothing to copy to", SpecialTrash, "INBOX", "IMAP4rev1 UIDPLUS", refuse("UID COPY", "[NONEXISTENT] "), mail.ErrRefused, []string{"UID COPY 2 Bin"}},
		{"copied, and then lost", SpecialTrash, "INBOX", "IMAP4rev1 UIDPLUS", lost("UID STORE", ""), nil, []string{"UID COPY 2 Bin", store, store, expunge}},
		{"lost before", SpecialTrash, "INBOX", "", lost("UID MOVE", ""), nil, []string{"UID MOVE 2 Bin", "UID MOVE 2 Bin"}},
		{"lost behind", SpecialTrash, "INBOX", "", lost("UID MOVE", "* 2 EXPUNGE\r\n* OK done\r\n"), nil, []string{"UID MOVE 2 Bin"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			gone := "UID MOVE"
			if c.caps != "" || c.folder == "Bin" {
				gone = "UID EXPUNGE"
			}
			s := trashing(gone, c.answer)
			if c.caps != "" {
				s.caps = c.caps
			}
			cfg := s.start(t)
			cfg.Trash = c.trash
			b := connect(t, cfg)
			if _, err := b.Messages(t.Context(), c.folder); err != nil {
				t.Fatal(err)
			}
			id := mail.ID{Folder: c.folder, UIDValidity: 7, UID: 2}
			if err := b.Delete(t.Context(), id); !errors.Is(err, c.want) || errors.Is(err, mail.ErrNotFound) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			var sent []string
			for _, command := range s.since("") {
				if strings.HasPrefix(command, "UID MOVE") || strings.HasPrefix(command, "UID COPY") || strings.HasPrefix(command, "UID STORE") || strings.HasPrefix(command, "UID EXPUNGE") {
					sent = append(sent, strings.ReplaceAll(command, `"`, ""))
				}
			}
			if !slices.Equal(sent, c.sent) {
				t.Errorf("sent %q, want %q", sent, c.sent)
			}
			l, err := b.Messages(t.Context(), c.folder)
			if has := slices.Contains(l.UIDs, 2); err != nil || has != (c.want != nil) {
				t.Errorf("the folder has %v, %v", l.UIDs, err)
			}
		})
	}
}

// TestNoTrash is told at the start, not when a message is removed.
func TestNoTrash(t *testing.T) {
	for trash, want := range map[string]string{SpecialTrash: "--trash=FOLDER", "Nope": `"Nope"`} {
		cfg := (&script{}).start(t)
		cfg.Trash = trash
		if _, err := Connect(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %s", trash, err, want)
		}
	}
}
