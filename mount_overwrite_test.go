package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// act is one thing that a program does to a mount. Its script is for sh, in
// which $M is the mount, $B a backup of it (there are $W/b.tar, b.zip, b.7z and
// b.cpio too), $N a message in $M/INBOX, and $W an empty directory.
type act struct{ program, what, script string }

// overwrites do not ask to delete anything.
var overwrites = []act{
	{"cp", "cp -af backup/. M", `cp -af $B/. $M`},
	{"cp", "cp -a, one message", `cp -a $B/INBOX/$N $M/INBOX/`},
	{"cp", "cp -f over body.txt", `cp -f $B/other $M/INBOX/$N/body.txt`},
	{"cp", "cp --remove-destination", `cp --remove-destination $B/other $M/INBOX/$N/body.txt`},
	{"cp", "cp -bf (backups)", `cp -bf $B/other $M/INBOX/$N/body.txt`},
	{"cp", "cp --remove-destination over a message", `cp --remove-destination -T $B/other $M/INBOX/$N`},
	{"install", "install over body.txt", `install $B/other $M/INBOX/$N/body.txt`},
	{"mv", "mv -f over body.txt", `cp $B/other $W/o; mv -f $W/o $M/INBOX/$N/body.txt`},
	{"mv", "mv -fT over a message", `cp -r $B/INBOX/$N $W/o; mv -fT $W/o $M/INBOX/$N`},
	{"ln", "ln -sf over body.txt", `ln -sf $B/other $M/INBOX/$N/body.txt`},
	{"ln", "ln -sfn over a message", `ln -sfnT $B/other $M/INBOX/$N`},
	{"sh", "> body.txt", `echo x > $M/INBOX/$N/body.txt`},
	{"tee", "tee -a body.txt", `echo x | tee -a $M/INBOX/$N/body.txt`},
	{"dd", "dd of=body.txt", `dd if=$B/other of=$M/INBOX/$N/body.txt`},
	{"truncate", "truncate -s 0", `truncate -s 0 $M/INBOX/$N/body.txt`},
	{"shred", "shred body.txt", `shred -f $M/INBOX/$N/body.txt`},
	{"tar", "tar xf", `tar xf $W/b.tar -C $M`},
	{"tar", "tar xf --overwrite", `tar xf $W/b.tar --overwrite -C $M`},
	{"tar", "tar xf --unlink-first", `tar xf $W/b.tar --unlink-first -C $M`},
	{"tar", "tar xf --keep-old-files", `tar xf $W/b.tar --keep-old-files -C $M`},
	{"tar", "tar xf --overwrite-dir", `tar xf $W/b.tar --overwrite-dir -C $M`},
	{"tar", "a file over a message", `tar xf $W/clash.tar -C $M`},
	{"bsdtar", "bsdtar xf", `bsdtar xf $W/b.tar -C $M`},
	{"bsdtar", "bsdtar xUf", `bsdtar xUf $W/b.tar -C $M`},
	{"bsdtar", "a file over a message", `bsdtar xf $W/clash.tar -C $M`},
	{"bsdtar", "a file over a message, -U", `bsdtar xUf $W/clash.tar -C $M`},
	{"busybox", "busybox cp -f", `busybox cp -f $B/other $M/INBOX/$N/body.txt`},
	{"busybox", "busybox cp -af", `busybox cp -af $B/. $M`},
	{"busybox", "busybox tar xf", `busybox tar xf $W/b.tar -C $M`},
	{"busybox", "busybox tar xf, a file over a message", `busybox tar xf $W/clash.tar -C $M`},
	{"busybox", "busybox unzip -o", `busybox unzip -o $W/b.zip -d $M`},
	{"busybox", "busybox install", `busybox install $B/other $M/INBOX/$N/body.txt`},
	{"busybox", "busybox mv -f", `cp $B/other $W/o; busybox mv -f $W/o $M/INBOX/$N/body.txt`},
	{"busybox", "busybox sed -i", `busybox sed -i s/a/b/ $M/INBOX/$N/body.txt`},
	{"busybox", "busybox cpio -idu", `cd $M && busybox cpio -idu < $W/b.cpio`},
	{"unzip", "unzip -o", `unzip -o $W/b.zip -d $M`},
	{"unzip", "a file over a message", `unzip -o $W/clash.zip -d $M`},
	{"7z", "7z x -aoa", `7z x -y -aoa -o$M $W/b.7z`},
	{"7z", "7z x -aot (renames what is there)", `7z x -y -aot -o$M $W/b.7z`},
	{"7z", "a file over a message", `7z x -y -aoa -o$M $W/clash.zip`},
	{"cpio", "cpio -idu", `cd $M && cpio -idu < $W/b.cpio`},
	{"cpio", "a file over a message", `cd $M && cpio -idu < $W/clash.cpio`},
	{"rsync", "rsync -a", `rsync -a $B/ $M/`},
	{"rsync", "rsync -aI", `rsync -aI $B/ $M/`},
	{"rsync", "rsync -aI --inplace", `rsync -aI --inplace $B/ $M/`},
	{"rsync", "rsync -ac, changed files", `rsync -ac $C/ $M/`},
	{"rsync", "rsync -a --backup", `rsync -aI --backup --suffix=.old $B/ $M/`},
	{"rsync", "rsync -a --delete, nothing missing", `rsync -a --delete --exclude=message.eml $B/ $M/`},
	{"rsync", "a file over a message", `rsync -a $W/clash/ $M/`},
	{"vim", ":w!", `vim -e -s -u NONE -i NONE -c 's/^/x/' -c 'w!' -c 'q!' $M/INBOX/$N/body.txt`},
	{"vim", ":w! with a backup", `vim -e -s -u NONE -i NONE -c 'set backup writebackup' -c 's/^/x/' -c 'w!' -c 'q!' $M/INBOX/$N/body.txt`},
	{"emacs", "save", `emacs -Q --batch --eval '(progn (find-file (getenv "F")) (setq buffer-read-only nil) (insert "x") (save-buffer))'`},
	{"emacs", "save, backup by copying", `emacs -Q --batch --eval '(progn (setq backup-by-copying t) (find-file (getenv "F")) (setq buffer-read-only nil) (insert "x") (save-buffer))'`},
	{"emacs", "save, precious", `emacs -Q --batch --eval '(progn (setq file-precious-flag t) (find-file (getenv "F")) (setq buffer-read-only nil) (insert "x") (save-buffer))'`},
	{"nano", "save", `python3 -c "$TYPE" nano -I $F`},
	{"ed", "w", `printf '1s/^/x/\nw\nQ\n' | ed -s $M/INBOX/$N/body.txt`},
	{"sed", "sed -i", `sed -i s/a/b/ $M/INBOX/$N/body.txt`},
	{"perl", "perl -i", `perl -i -pe s/a/b/ $M/INBOX/$N/body.txt`},
	{"perl", "perl -i.bak", `perl -i.bak -pe s/a/b/ $M/INBOX/$N/body.txt`},
	{"git", "git checkout -f", `git --git-dir=$W/git --work-tree=$M checkout -f HEAD -- .`},
	{"git", "git checkout of changed files", `git --git-dir=$W/git --work-tree=$M checkout -f changed`},
	{"git", "git reset --hard", `git --git-dir=$W/git --work-tree=$M reset --hard changed`},
	{"git", "git stash", `git --git-dir=$W/git --work-tree=$M stash`},
	{"unison", "unison -force", `unison -batch -auto -perms 0 -force $C $C $M`},
	{"restic", "restic restore", `restic -q -r $W/restic restore latest --target $M`},
	{"borg", "borg extract", `cd $M && borg extract $W/borg::a`},
	{"gio", "gio copy", `gio copy -T $B/other $M/INBOX/$N/body.txt`},
	{"gio", "gio move", `cp $B/other $W/o; gio move -T $W/o $M/INBOX/$N/body.txt`},
	{"gio", "gio trash", `gio trash $M/INBOX/$N`},
	{"python3", "shutil.copytree", `python3 -c 'import shutil,sys; shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)' $B $M`},
	{"python3", "shutil.copy2", `python3 -c 'import shutil,sys; shutil.copy2(sys.argv[1], sys.argv[2])' $B/other $M/INBOX/$N/body.txt`},
	{"python3", "os.replace", `cp $B/other $W/o; python3 -c 'import os,sys; os.replace(sys.argv[1], sys.argv[2])' $W/o $M/INBOX/$N/body.txt`},
	{"python3", "tarfile", `python3 -m tarfile -e $W/b.tar $M`},
	{"python3", "zipfile", `python3 -m zipfile -e $W/b.zip $M`},
}

// removals ask to delete the message $N.
var removals = []act{
	{"rm", "rm -r", `rm -r $M/INBOX/$N`},
	{"rm", "rm -rf", `rm -rf $M/INBOX/$N`},
	{"rm", "rm -rf from inside the folder", `cd $M/INBOX && rm -rf ./$N`},
	{"rmdir", "rmdir", `rmdir $M/INBOX/$N`},
	{"busybox", "busybox rm -rf", `busybox rm -rf $M/INBOX/$N`},
	{"busybox", "busybox rmdir", `busybox rmdir $M/INBOX/$N`},
	{"find", "find -delete", `find $M/INBOX/$N -delete`},
	{"find", "find -exec rm -r", `find $M/INBOX -mindepth 1 -maxdepth 1 -name $N -exec rm -r {} +`},
	{"find", "find -depth -exec rmdir", `find $M/INBOX -depth -type d -name $N -exec rmdir {} \;`},
	{"busybox", "busybox find -exec rm -r", `busybox find $M/INBOX -name $N -prune -exec busybox rm -r {} +`},
	{"rsync", "rsync -rtO --delete", `rsync -rtO --delete --exclude=message.eml --exclude=.imapfs $B/ $M/`},
	{"rsync", "rsync -rtO --delete-before", `rsync -rtO --delete-before --exclude=message.eml --exclude=.imapfs $B/ $M/`},
	{"tar", "tar --remove-files", `tar cf $W/x.tar --remove-files -C $M/INBOX $N`},
	{"python3", "shutil.rmtree", `python3 -c 'import shutil,sys; shutil.rmtree(sys.argv[1])' $M/INBOX/$N`},
	{"python3", "os.rmdir", `python3 -c 'import os,sys; os.rmdir(sys.argv[1])' $M/INBOX/$N`},
	{"perl", "remove_tree", `perl -MFile::Path=remove_tree -e 'remove_tree($ARGV[0])' $M/INBOX/$N`},
	{"git", "git clean -fdx", `git init -q $W/empty && cd $M && git --git-dir=$W/empty/.git --work-tree=. clean -qffdx INBOX/$N`},
	{"gio", "gio remove", `gio remove $M/INBOX/$N`},
	{"mv", "mv to elsewhere", `mv $M/INBOX/$N $W/`},
	{"gio", "gio move to elsewhere", `python3 -c 'import shutil,sys; shutil.move(sys.argv[1], sys.argv[2])' $M/INBOX/$N $W/`},
}

// smallMailbox fills INBOX and another folder with letters: plain, with HTML,
// with attachments. They are few, because each act reads all.
func smallMailbox(t *testing.T, a account, inInbox int) {
	t.Helper()
	c := a.client(t)
	c.Create("INBOX", nil).Wait() // or it is there
	if err := c.Create("Old/Letters", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	letter := func(n int) []byte {
		switch n % 3 {
		case 1:
			return fmt.Appendf(nil, "Subject: letter %d\r\nContent-Type: text/html\r\n\r\n<p>A letter</p>\r\n", n)
		case 2:
			return fmt.Appendf(nil, "Subject: letter %d\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee what is attached.\r\n--b\r\n"+
				"Content-Type: text/plain; name=a.txt\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\nan attachment\r\n--b--\r\n", n)
		}
		return fmt.Appendf(nil, "Subject: letter %d\r\n\r\nA letter.\r\n", n)
	}
	for n := range inInbox {
		deliver(t, c, "INBOX", letter(n), time.Now())
	}
	for n := range 3 {
		deliver(t, c, "Old/Letters", letter(n), time.Now())
	}
}

// forEachKind is forEachServer with mailboxes that a test can fill.
func forEachKind(t *testing.T, f func(t *testing.T, a account)) {
	t.Run("demo", func(t *testing.T) { t.Parallel(); f(t, emptyDemo(t)) })
	t.Run("dovecot", func(t *testing.T) { t.Parallel(); f(t, emptyDovecot(t, "")) })
	t.Run("cyrus", func(t *testing.T) { t.Parallel(); f(t, emptyCyrus(t)) })
}

// uids returns the messages that the server has.
func uids(t *testing.T, a account) []string {
	t.Helper()
	c := a.client(t)
	defer c.Close()
	var list []string
	for _, folder := range []string{"INBOX", "Old/Letters"} {
		if _, err := c.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
			t.Fatal(err)
		}
		found, err := c.UIDSearch(&imap.SearchCriteria{}, nil).Wait()
		if err != nil {
			t.Fatal(err)
		}
		for _, uid := range found.AllUIDs() {
			list = append(list, fmt.Sprintf("%s/%d", folder, uid))
		}
	}
	return list
}

// perform runs an act and returns its exit code, and what it has said.
func perform(t *testing.T, script string, env []string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*within)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		t.Errorf("%s does not end", script)
	case err != nil && !errors.As(err, &exit):
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

func must(t *testing.T, script string, env []string) {
	t.Helper()
	if code, out := perform(t, script, env); code != 0 {
		t.Fatalf("%s: code %d\n%s", script, code, out)
	}
}

// TestOverwritingLosesNothing has every program overwrite, restore, edit and
// sync: the server keeps every message.
func TestOverwritingLosesNothing(t *testing.T) {
	forEachKind(t, func(t *testing.T, a account) {
		smallMailbox(t, a, 4)
		m := mount(t, a)
		backup, changed, home := t.TempDir(), t.TempDir(), t.TempDir()
		run(t, "cp", "-a", m+"/.", backup)
		run(t, "cp", "-a", m+"/.", changed)
		os.RemoveAll(filepath.Join(backup, ".imapfs")) // is never the same
		os.RemoveAll(filepath.Join(changed, ".imapfs"))
		env := []string{"M=" + m, "B=" + backup, "C=" + changed, "HOME=" + home, "N=2", "F=" + m + "/INBOX/2/body.txt", "TERM=xterm",
			"TYPE=" + typeNano, "RESTIC_PASSWORD=x", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes", "BORG_RELOCATED_REPO_ACCESS_IS_OK=yes",
			"GIT_AUTHOR_NAME=x", "GIT_AUTHOR_EMAIL=x", "GIT_COMMITTER_NAME=x", "GIT_COMMITTER_EMAIL=x"}
		must(t, `chmod -R u+w $B $C; find $C -name '*.txt' -exec sh -c 'echo changed >> "$1"' - {} \;; echo other > $B/other`, env)
		before := uids(t, a)
		for _, do := range overwrites {
			t.Run(do.program+"/"+do.what, func(t *testing.T) {
				need(t, do.program)
				mine := append(env, "W="+t.TempDir())
				must(t, prepare(do.script), mine)
				code, out := perform(t, do.script, mine)
				after := uids(t, a)
				t.Logf("| %s | `%s` | exit %d | lost %d of %d |", do.program, do.what, code, len(before)-len(after), len(before))
				if !slices.Equal(after, before) {
					t.Errorf("the server has %v, had %v; it said:\n%s", after, before, out)
					before = after
				}
			})
		}
	})
}

// typeNano runs an editor on a terminal, and types when it has come so far.
const typeNano = `
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
for said, keys in ((b"Help", b"x\x0f"), (b"File Name to Write", b"\r"), (b"rror writing", b"\x18"), (b"Save modified", b"n")):
    seen = b""
    while said not in seen:
        seen += os.read(fd, 1000)
    os.write(fd, keys)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`

// prepare makes the archives that a script is about.
func prepare(script string) string {
	all := []struct{ name, how string }{
		{"$W/b.tar", `tar cf $W/b.tar -C $B .`},
		{"$W/b.zip", `python3 -m zipfile -c $W/b.zip $B/.`},
		{"$W/b.7z", `cd $B && 7z a $W/b.7z .`},
		{"$W/b.cpio", `cd $B && find . -depth | cpio -o -H newc > $W/b.cpio`},
		{"$W/clash", `mkdir -p $W/clash/INBOX && cp $B/other $W/clash/INBOX/$N`},
		{"$W/clash.tar", `tar cf $W/clash.tar -C $W/clash INBOX/$N`},
		{"$W/clash.zip", `cd $W/clash && python3 -m zipfile -c $W/clash.zip INBOX/`},
		{"$W/clash.cpio", `cd $W/clash && find . | cpio -o -H newc > $W/clash.cpio`},
		{"$W/git", `export GIT_DIR=$W/git GIT_WORK_TREE=$B && git init -q && git add -A && git commit -qm a && git branch a &&
			export GIT_WORK_TREE=$C && git add -A && git commit -qm b && git branch changed && git symbolic-ref HEAD refs/heads/a &&
			export GIT_WORK_TREE=$M && git reset -q`},
		{"$W/restic", `restic -q -r $W/restic init && cd $B && restic -q -r $W/restic backup .`},
		{"$W/borg", `borg init -e none $W/borg && cd $B && borg create $W/borg::a .`},
	}
	steps := []string{":"}
	for _, one := range all {
		if strings.Contains(script, one.name) {
			steps = append(steps, "("+one.how+")")
		}
	}
	return strings.Join(steps, " && ")
}

// TestRemovingRemovesOne has every program delete one message: it goes, and no
// other, and its name is gone at once.
func TestRemovingRemovesOne(t *testing.T) {
	forEachKind(t, func(t *testing.T, a account) {
		smallMailbox(t, a, len(removals)+1)
		m := mount(t, a)
		for n, do := range removals {
			t.Run(do.program+"/"+do.what, func(t *testing.T) {
				need(t, do.program)
				uid := fmt.Sprint(n + 1)
				env := []string{"M=" + m, "B=" + t.TempDir(), "W=" + t.TempDir(), "HOME=" + t.TempDir(), "N=" + uid}
				if do.program == "rsync" {
					must(t, `cp -a $M/. $B && rm -rf $B/.imapfs $B/INBOX/$N`, env)
				}
				before := uids(t, a)
				want := slices.DeleteFunc(slices.Clone(before), func(id string) bool { return id == "INBOX/"+uid })
				code, out := perform(t, do.script, env)
				if code != 0 || out != "" {
					t.Errorf("code %d: %s", code, out)
				}
				if _, err := os.Lstat(filepath.Join(m, "INBOX", uid)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the name is there: %v", err)
				}
				after := uids(t, a)
				t.Logf("| %s | `%s` | exit %d | %d gone of %d |", do.program, do.what, code, len(before)-len(after), len(before))
				if !slices.Equal(after, want) {
					t.Errorf("the server has %v, want %v", after, want)
				}
			})
		}
	})
}
