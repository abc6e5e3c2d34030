package mounttests

import (
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"imapfs/commands"
	"imapfs/internal/harness"
)

func TestCommandLine(t *testing.T) {
	none := t.TempDir()
	missing := filepath.Join(none, "missing")
	for _, test := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{}, commands.ExitUsage, "want SOURCE and MOUNTPOINT, got 0 of 2"},
		{[]string{"foo"}, commands.ExitUsage, "want SOURCE and MOUNTPOINT, got 1 of 2 arguments: foo"},
		{[]string{"imaps://anna@example.org/"}, commands.ExitUsage, "want SOURCE and MOUNTPOINT"},
		{[]string{none, "imaps://anna@example.org/"}, commands.ExitUsage, "SOURCE comes first, and then MOUNTPOINT: imapfs imaps://anna@example.org/ " + none},
		{[]string{"dmeo", none}, commands.ExitUsage, `there is no command "dmeo"; did you mean demo?`},
		{[]string{"statsu", none}, commands.ExitUsage, `did you mean status?`},
		{[]string{"satus"}, commands.ExitUsage, `did you mean status?`},
		{[]string{"http://example.org/", none}, commands.ExitUsage, "imaps://"},
		{[]string{"example.org", none}, commands.ExitUsage, "imaps://"},
		{[]string{"imaps://example.org/", none}, commands.ExitUsage, "no user name"},
		{[]string{"imaps://anna:secret@example.org/", none}, commands.ExitUsage, "password"},
		{[]string{"--mirror", "INBOX", "imaps://anna@example.org/", none}, commands.ExitUsage, "stands behind a =, like --mirror=INBOX"},
		{[]string{"--trash", "Bin", "imaps://anna@example.org/", none}, commands.ExitUsage, "stands behind a =, like --trash=Bin"},
		{[]string{"demo", "--trash", "Bin", none}, commands.ExitUsage, "stands behind a =, like --trash=Bin"},
		{[]string{"--connections", "many", "imaps://anna@example.org/", none}, commands.ExitUsage, `--connections cannot be "many"; write a number, like --connections 4`},
		{[]string{"--connections", "99999999999999999999", "imaps://anna@example.org/", none}, commands.ExitUsage, "write a number"},
		{[]string{"--connections", "0", "imaps://anna@example.org/", none}, commands.ExitUsage, "above zero"},
		{[]string{"--poll", "5", "imaps://anna@example.org/", none}, commands.ExitUsage, `--poll cannot be "5"; write a time with its unit, like --poll 30s`},
		{[]string{"--poll", "-5s", "imaps://anna@example.org/", none}, commands.ExitUsage, "--poll needs a time above zero"},
		{[]string{"--timeout", "soon", "imaps://anna@example.org/", none}, commands.ExitUsage, "write a time with its unit, like --timeout 30s"},
		{[]string{"--timeout"}, commands.ExitUsage, "--timeout needs a value"},
		{[]string{"--daemon=maybe", "imaps://anna@example.org/", none}, commands.ExitUsage, `--daemon cannot be "maybe"; write --daemon`},
		{[]string{"--cache-size", "big", "imaps://anna@example.org/", none}, commands.ExitUsage, `"big" is not a size; write it like 64M`},
		{[]string{"--umask", "99", "imaps://anna@example.org/", none}, commands.ExitUsage, `"99" is not a umask; write it like 022`},
		{[]string{"--mark-read", "-o", "ro", "imaps://anna@example.org/", none}, commands.ExitUsage, "leave out -o ro"},
		{[]string{"--show", "all", "imaps://anna@example.org/", none}, commands.ExitUsage, "--show knows raw and html"},
		{[]string{"-insecure", "imaps://anna@example.org/", none}, commands.ExitUsage, "there is no flag -insecure; with two dashes there is: --insecure"},
		{[]string{"-mirror=INBOX", "imaps://anna@example.org/", none}, commands.ExitUsage, "--mirror=INBOX"},
		{[]string{"-x", "imaps://anna@example.org/", none}, commands.ExitUsage, "there is no flag -x"},
		{[]string{"--insecur", "imaps://anna@example.org/", none}, commands.ExitUsage, "there is no flag --insecur; did you mean --insecure?"},
		{[]string{"--nonsense", "imaps://anna@example.org/", none}, commands.ExitUsage, "there is no flag --nonsense"},
		{[]string{"demo", "--mirror", none}, commands.ExitUsage, "imapfs demo has no flag --mirror"},
		{[]string{"-o", "nonsense", "imaps://anna@example.org/", none}, commands.ExitUsage, `unknown mount option "nonsense"`},
		{[]string{"-o", "poll=5", "imaps://anna@example.org/", none}, commands.ExitUsage, "write a time with its unit"},
		{[]string{"-o", "poll", "imaps://anna@example.org/", none}, commands.ExitUsage, "-o poll needs a value, like -o poll=1m0s"},
		{[]string{"--disk-cache-size", "0", "--mirror", "imaps://anna@example.org/", none}, commands.ExitUsage, "leave out --disk-cache-size 0"},
		{[]string{"--token-command", "x", "--password-file", "x", "imaps://anna@example.org/", none}, commands.ExitUsage, "--token-command takes the place of a password"},
		{[]string{"--tls-ca", missing, "imaps://anna@example.org/", none}, commands.ExitFailed, missing},
		{[]string{"imaps://anna@example.org/", missing}, commands.ExitFailed, missing},
		{[]string{"--trash=", "imaps://anna@example.org/", none}, commands.ExitUsage, "--trash is empty"},
		{[]string{"-o", "trash=", "imaps://anna@example.org/", none}, commands.ExitUsage, "--trash is empty"},
		{[]string{"demo", "--trash=", none}, commands.ExitUsage, "--trash is empty"},
		{[]string{"--mirror=", "imaps://anna@example.org/", none}, commands.ExitUsage, "--mirror is empty"},
		{[]string{"--password-file", "", "imaps://anna@example.org/", none}, commands.ExitUsage, "--password-file is empty"},
		{[]string{"--log-file=", "imaps://anna@example.org/", none}, commands.ExitUsage, "--log-file is empty"},
		{[]string{"imaps://anna@example.org/", ""}, commands.ExitUsage, "argument 2 of 2 is empty"},
		{[]string{"", none}, commands.ExitUsage, "argument 1 of 2 is empty"},
		{[]string{"status", ""}, commands.ExitUsage, "argument 1 of 1 is empty"},
		{[]string{"-o", "conections=3", "imaps://anna@example.org/", none}, commands.ExitUsage, `unknown mount option "conections=3"; did you mean connections?`},
		{[]string{"-o", "disk_cache_siz=3", "imaps://anna@example.org/", none}, commands.ExitUsage, "did you mean disk-cache-size?"},
		{[]string{"mount", "imaps://anna@example.org/", none}, commands.ExitUsage, "imapfs SOURCE MOUNTPOINT"},
		{[]string{"umount", none}, commands.ExitUsage, "fusermount3 -u"},
		{[]string{"help", "nothing"}, commands.ExitUsage, `there is no command "nothing"; there are cache, demo`},
		{[]string{"help", "cache", "nothing"}, commands.ExitUsage, `there is no command`},
		{[]string{"status"}, commands.ExitUsage, "want MOUNTPOINT"},
		{[]string{"status", "--nonsense", none}, commands.ExitUsage, "--nonsense"},
		{[]string{"status", none}, commands.ExitFailed, none + " is not in a mount of imapfs"},
		{[]string{"status", missing}, commands.ExitFailed, missing + " is not in a mount of imapfs"},
		{[]string{"wait"}, commands.ExitUsage, "want DIR"},
		{[]string{"wait", none}, commands.ExitFailed, none + " is not in a mount of imapfs"},
		{[]string{"cache"}, commands.ExitUsage, "list, clear"},
		{[]string{"cache", "foo"}, commands.ExitUsage, "list, clear"},
		{[]string{"cache", "list", "x"}, commands.ExitUsage, "no arguments"},
		{[]string{"cache", "clear", "x"}, commands.ExitFailed, `no mail of "x"`},
		{[]string{"cache", "clear", "../x"}, commands.ExitFailed, `no mail of "../x"`},
	} {
		t.Run(strings.Join(test.args[:min(2, len(test.args))], " "), func(t *testing.T) {
			got := harness.RunCommand(t, none, test.args...)
			got.FailsWith(t, test.code, test.text)
			for _, word := range []string{"strconv", "pflag", "invalid argument", "time:", "shorthand"} {
				if strings.Contains(got.Stderr, word) {
					t.Errorf("no plain words: %s", got.Stderr)
				}
			}
		})
	}
	if got := harness.RunCommand(t, none, "demo"); !strings.Contains(got.Stderr, "got 0 of 1 arguments\nSee: imapfs demo --help\n") {
		t.Errorf("demo without an argument: %+v", got)
	}
	if got := harness.RunCommand(t, none, "cache", "list"); got != (harness.Said{}) {
		t.Errorf("no cache is listed as %+v", got)
	}
	if got := harness.RunCommand(t, none, "cache", "clear"); got != (harness.Said{}) {
		t.Errorf("no cache is cleared with %+v", got)
	}
}

// TestNoHome runs imapfs as mount(8) does for a normal user.
func TestNoHome(t *testing.T) {
	if u, err := user.Current(); err != nil || u.HomeDir == "" {
		t.Skip("this user has no home directory")
	}
	t.Setenv("HOME", "")
	if got := harness.RunCommand(t, "", "cache", "clear", "no-such-account"); !strings.Contains(got.Stderr, "no mail of") {
		t.Errorf("%+v", got)
	}
}
