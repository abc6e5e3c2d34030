package mounttests

import (
	"testing"

	"golang.org/x/sys/unix"

	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
)

// TestQuotaIsShown has statvfs(3) tell what the server says of the quota, also when it
// changes, and where there is none what is known.
func TestQuotaIsShown(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{Extra: `
mail_plugins = quota
protocol imap {
  mail_plugins = quota imap_quota
}
plugin {
  quota = count:User quota
  quota_rule = *:storage=10M:messages=100
  quota_vsizes = yes
}
`})
	a := harness.DovecotAccount(s)
	c := a.Client(t)
	for range 3 {
		harness.Deliver(t, c, "INBOX", harness.LargeLetter(), putDate)
	}
	mnt := harness.Mount(t, a, "--poll", "1s")
	stat := func() (st unix.Statfs_t) {
		harness.Must(t, unix.Statfs(mnt, &st))
		return st
	}
	block := uint64(stat().Bsize)
	used := uint64(3 * len(harness.LargeLetter()))
	harness.Eventually(t, "the quota is shown", func() bool {
		st := stat()
		return st.Blocks*block == 10<<20 && st.Files == 100 && st.Ffree == 97 && near((st.Blocks-st.Bfree)*block, used, 3*4096)
	})
	harness.Deliver(t, c, "INBOX", harness.LargeLetter(), putDate)
	harness.Eventually(t, "it follows", func() bool {
		st := stat()
		return st.Ffree == 96 && near((st.Blocks-st.Bfree)*block, used/3*4, 4*4096)
	})

	mnt = harness.Mount(t, harness.EmptyDemo(t))
	if st := stat(); st.Blocks == 0 || st.Bfree == 0 || st.Files == 0 || st.Ffree == 0 {
		t.Errorf("without a quota: %+v", st)
	}
}

func near(a, b, by uint64) bool { return a < b+by && b < a+by }
