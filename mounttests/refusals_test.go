package mounttests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
)

// poorServer has UIDPLUS and MOVE as capability says, a quota of four messages, an end
// of what it takes in, and folders in which not all can be done: Reading, and Marking
// where only \Seen can be set.
func poorServer(t *testing.T, capability string) harness.Account {
	s := dovecot.Start(t, dovecot.Options{Extra: `
mail_plugins = acl quota
plugin {
  acl = vfile
  quota = count:User quota
  quota_rule = *:messages=4
  quota_vsizes = yes
}
protocol imap {
  imap_capability = IMAP4rev1 APPENDLIMIT=10000 ` + capability + `
}
`})
	secret := []byte("Subject: lantern\r\nContent-Type: application/pdf; name=lantern.pdf\r\n\r\nlantern\r\n")
	for folder, rights := range map[string]string{"INBOX": "", "Reading": "lr", "Marking": "lrs"} {
		harness.Must(t, s.DeliverTo(folder, slices.Values([][]byte{secret})))
		if rights != "" {
			harness.Must(t, os.WriteFile(filepath.Join(s.Maildir(), "."+folder, "dovecot-acl"), []byte("owner "+rights+"\n"), 0o644))
		}
	}
	return harness.DovecotAccount(s)
}

// refusedAct is what somebody does, and what the log says of it.
type refusedAct struct {
	what string
	do   func(at func(...string) string) error
	want syscall.Errno
	line string // what cannot be done
	can  string // and what can, of which this is a part
}

func write(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }

var refusedActs = []refusedAct{
	{"a new name for a message", func(at func(...string) string) error { return os.Rename(at("INBOX/1"), at("INBOX/7")) },
		syscall.EPERM, "move INBOX/1 to INBOX/7", "it can be moved to another folder"},
	{"a message to another number", func(at func(...string) string) error { return os.Rename(at("INBOX/1"), at("Reading/77")) },
		syscall.EPERM, "move INBOX/1 to Reading/77", "to another folder under its own number"},
	{"a file that is no message", func(at func(...string) string) error { return write(at("INBOX/x.txt"), "hello\n") },
		syscall.EINVAL, "put the file INBOX/x.txt", "as files *.eml that begin with a header"},
	{"a message without a header", func(at func(...string) string) error { return write(at("INBOX/x.eml"), "hello\n") },
		syscall.EINVAL, "put the file INBOX/x.eml", "the first line of one is like Subject: hello"},
	{"a file with a number", func(at func(...string) string) error { return write(at("INBOX/7"), "hello\n") },
		syscall.EPERM, "put the file INBOX/7", "a new message is a file *.eml"},
	{"writing a text", func(at func(...string) string) error { return write(at("INBOX/1/body.txt"), "hello\n") },
		syscall.EPERM, "change INBOX/1/body.txt", "copy it to elsewhere, and change the copy"},
	{"writing an attachment", func(at func(...string) string) error { return os.Chmod(at("INBOX/1/attachments/lantern.pdf"), 0o600) },
		syscall.EPERM, "change an attachment of INBOX/1", "copy it to elsewhere"},
	{"permissions of a message", func(at func(...string) string) error { return os.Chmod(at("INBOX/1"), 0o755) },
		syscall.EPERM, "change INBOX/1", "copy it to elsewhere"},
	{"a directory in a message", func(at func(...string) string) error { return os.Mkdir(at("INBOX/1/x"), 0o700) },
		syscall.EPERM, "put something into INBOX/1", "a new one is a file *.eml that is put into a folder"},
	{"a link", func(at func(...string) string) error { return os.Symlink("x", at("INBOX/x")) },
		syscall.EPERM, "put this into INBOX", "a folder takes messages, folders and files *.eml"},
	{"an attachment into a folder", func(at func(...string) string) error {
		return os.Rename(at("INBOX/1/attachments/lantern.pdf"), at("INBOX/lantern.pdf"))
	}, syscall.EPERM, "put this into INBOX", "what is in it can be copied to elsewhere"},
	{"a folder that is called like a message", func(at func(...string) string) error { return os.Mkdir(at("INBOX/9"), 0o700) },
		syscall.EPERM, "make the folder INBOX/9", "with .folder behind it"},
	{"removing INBOX", func(at func(...string) string) error { return syscall.Rmdir(at("INBOX")) },
		syscall.EBUSY, "delete the folder INBOX", "what is in it can be moved and deleted"},
	{"removing the flags", func(at func(...string) string) error { return os.Remove(at("INBOX/1/flags")) },
		syscall.EPERM, "delete INBOX/1/flags", "echo > flags"},
	{"no flag", func(at func(...string) string) error { return write(at("INBOX/1/flags"), "+") },
		syscall.EINVAL, "change the flags of INBOX/1", "flags are words like +Flagged -Seen"},
	{"the flag of what is deleted", func(at func(...string) string) error { return write(at("INBOX/1/flags"), "+Deleted") },
		syscall.EPERM, "change the flags of INBOX/1", "set by deleting the message"},

	{"a flag that the folder does not keep", func(at func(...string) string) error { return write(at("Marking/1/flags"), "+work") },
		syscall.EPERM, "change the flags of Marking/1", `keep the flag work in this folder, only \\seen`},
	{"flags in a folder for reading", func(at func(...string) string) error { return write(at("Reading/1/flags"), "+Seen") },
		syscall.EACCES, "change the flags of Reading/1", "what is there can be read, and copied to elsewhere"},
	{"a message from a folder for reading", func(at func(...string) string) error { return harness.Rmdir(at("Reading/1")) },
		syscall.EOPNOTSUPP, "delete Reading/1", "it can be copied"},
	{"a message into a folder for reading", func(at func(...string) string) error { return write(at("Reading/x.eml"), "Subject: x\n\nx\n") },
		syscall.EACCES, "put the file Reading/x.eml", "what is there can be read, and copied to elsewhere"},
	{"a message that is too large", func(at func(...string) string) error {
		return write(at("INBOX/large.eml"), "Subject: x\n\n"+strings.Repeat("x\n", 10_000))
	}, syscall.EFBIG, "put the file INBOX/large.eml", "a smaller one can be put there"},
	{"more messages than the quota allows", func(at func(...string) string) error {
		for i := range 2 {
			if err := write(at(fmt.Sprintf("INBOX/%d.eml", i)), "Subject: x\n\nx\n"); err != nil {
				return err
			}
		}
		return nil
	}, syscall.EDQUOT, "put the file INBOX/1.eml", "when some is deleted"},
	{"a folder that the server does not want", func(at func(...string) string) error { return os.Mkdir(at("~x"), 0o700) },
		syscall.EPERM, "make the folder ~x", "the server says NO"},
	{"deleting without UIDPLUS", func(at func(...string) string) error { return harness.Rmdir(at("INBOX/1")) },
		syscall.EOPNOTSUPP, "delete INBOX/1", "it can be copied"},
	{"moving without UIDPLUS and MOVE", func(at func(...string) string) error { return syscall.Rename(at("INBOX/1"), at("Marking/1")) },
		syscall.EOPNOTSUPP, "move INBOX/1 to Marking", "it can be copied"},
}

// TestRefusalsAreTold has each refusal say in the log what cannot be done and what can, and
// nothing of the mail.
func TestRefusalsAreTold(t *testing.T) {
	t.Parallel()
	mnt, p := harness.MountProcess(t, poorServer(t, ""))
	at := func(path ...string) string { return filepath.Join(append([]string{mnt}, path...)...) }
	harness.Names(t, at("INBOX/1/attachments"))
	for _, act := range refusedActs {
		fails(t, act.what, act.do(at), act.want)
		harness.Eventually(t, act.what+" is told", func() bool {
			for line := range strings.Lines(p.Stderr.String()) {
				if strings.Contains(line, `msg="cannot `+act.line+`" errno=`) && strings.Contains(line, act.can) {
					return true
				}
			}
			return false
		})
	}
	if strings.Contains(p.Stderr.String(), "lantern") {
		t.Errorf("the log has text of mail:\n%s", p.Stderr)
	}
}

// TestLoopOfRefusals does not fill the log.
func TestLoopOfRefusals(t *testing.T) {
	a := harness.Embedded(t)
	mnt, p := harness.MountProcess(t, a)
	const n = 1000
	for i := range n {
		path := filepath.Join(mnt, "INBOX", fmt.Sprint(1+i%10), "body.txt")
		fails(t, "chmod", os.Chmod(path, 0o777), syscall.EPERM)
	}
	p.Unmount(t)
	if said := p.Stderr.String(); strings.Count(said, "cannot change") != 6 || !strings.Contains(said, fmt.Sprintf("times=%d", n-5)) {
		t.Errorf("the log:\n%s", said)
	}
}
