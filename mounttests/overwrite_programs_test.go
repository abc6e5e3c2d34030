package mounttests

import "testing"

// inTmux begins a script that runs a program in a terminal: press gives it
// keys, screen waits until it shows a text or has ended, and ended until it has
// ended, with its exit code.
const inTmux = `
trap 'tm kill-server 2>/dev/null' EXIT
trap 'exit 1' TERM
tm() { tmux -S "$W/tmux" -f /dev/null "$@"; }
start() { tm new-session -d -x 100 -y 30 "$1; echo \$? >$W/code.new; mv $W/code.new $W/code"; }
press() { tm send-keys "$@"; }
screen() { until tm capture-pane -p | grep -qE -- "$1" || [ -e "$W/code" ]; do sleep 0.05; done; }
ended() { until [ -e "$W/code" ]; do sleep 0.05; done; return "$(cat "$W/code")"; }
`

// gitTrees begins a script with a repository that has the equal copy in branch
// same and the changed one in branch other. Its index says that the mount is at
// branch same.
const gitTrees = `
git init -q -b same "$W/repo" >/dev/null && cd "$W/repo" || exit 99
put() { git --work-tree="$1" add -A && git --work-tree="$1" commit -qm "$2"; }
put "$E" same && git checkout -q --orphan other 2>/dev/null
put "$B" other
git symbolic-ref HEAD refs/heads/same && git read-tree same
export GIT_DIR="$W/repo/.git" GIT_WORK_TREE="$M"
cd "$M" || exit 99
`

// overwriting is what people do that want no message deleted.
var overwriting = []deed{
	{act: "cp -r", script: `cp -r "$B/." "$M"`, fails: true},
	{act: "cp -a", script: `cp -a "$B/." "$M"`, fails: true},
	{act: "cp -af", script: `cp -af "$B/." "$M"`, fails: true},
	{act: "cp -f", script: `cp -f "$B/3/body.txt" "$B/3/headers.txt" "$M/3"`, fails: true},
	{act: "cp -r --remove-destination", script: `cp -r --remove-destination "$B/." "$M"`, fails: true},
	{act: "cp -f FILE over DIR", script: `cp -fT "$B/3/body.txt" "$M/3"`, fails: true},
	{act: "cp --remove-destination FILE over DIR", script: `cp -T --remove-destination "$B/3/body.txt" "$M/3"`, fails: true},
	{act: "install", script: `install "$B/3/body.txt" "$B/3/headers.txt" "$M/3"`, fails: true},
	{act: "install FILE over DIR", script: `install -T "$B/3/body.txt" "$M/3"`, fails: true},
	{act: "mv FILE", script: `mv -f "$B/3/body.txt" "$M/3/body.txt"`, fails: true},
	{act: "mv FILE of another message", script: `mv -f "$M/2/body.txt" "$M/3/body.txt"`, fails: true},
	{act: "mv DIR", script: `mv "$B/3" "$M"`, fails: true},
	{act: "mv -f DIR", script: `mv -f "$B"/[1-6] "$M"`, fails: true},
	{act: "mv -fT DIR", script: `mv -fT "$B/3" "$M/3"`, fails: true},
	{act: "mv -fT FILE over DIR", script: `mv -fT "$B/3/body.txt" "$M/3"`, fails: true},
	{act: "mv DIR of the mount", script: `mv -fT "$M/2" "$M/3"`, fails: true},
	{act: "mv --backup DIR", script: `mv -f --backup=numbered -T "$B/3" "$M/3"`, fails: true},
	// As Nautilus, Thunar and PCManFM do it: what is refused is skipped, and then they tidy up.
	{act: "merge DIR of the mount", needs: "python3", script: `python3 -c '
import os, sys
def skip(do, *at):
    try: do(*at)
    except OSError as e: print(e)
source, target = sys.argv[1:]
for name in os.listdir(source + "/attachments"): skip(os.rename, source + "/attachments/" + name, target + "/attachments/" + name)
skip(os.rmdir, source + "/attachments")
for name in ("headers.txt", "body.txt"): skip(os.rename, source + "/" + name, target + "/" + name)
os.rmdir(source)' "$M/2" "$M/3"`, fails: true},
	{act: "ln -sf", script: `ln -sf "$B/3/body.txt" "$M/3/body.txt"`, fails: true},
	{act: "ln -sfT over DIR", script: `ln -sfT "$B/3" "$M/3"`, fails: true},
	{act: "tee", script: `echo new | tee "$M/3/body.txt" >/dev/null`, fails: true},
	{act: "dd", script: `dd if="$B/3/body.txt" of="$M/3/body.txt" status=none`, fails: true},
	{act: "touch", script: `touch "$M/3/body.txt" "$M/3"`, fails: true},
	{act: "truncate", script: `truncate -s 0 "$M/3/body.txt"`, fails: true},
	{act: "shred -u", script: `shred -u "$M/3/body.txt"`, fails: true},
	{act: "echo >", script: `echo new >"$M/3/body.txt"`, fails: true},
	{act: "echo >|", script: `set -C; echo new >|"$M/3/body.txt"`, fails: true},

	{act: "busybox cp -rf", needs: "busybox", script: `busybox cp -rf "$B/." "$M"`, fails: true},
	{act: "busybox mv -f DIR", needs: "busybox", script: `busybox mv -f "$B/3" "$M"`, fails: true},
	{act: "busybox tar x", needs: "busybox", script: `busybox tar cf b.tar -C "$B" . && busybox tar xf b.tar -C "$M"`, fails: true},
	{act: "busybox tar x FILE over DIR", needs: "busybox", script: `mkdir f; echo x >f/3; busybox tar cf f.tar -C f . && busybox tar xf f.tar -C "$M"`, fails: true},
	{act: "busybox unzip -o", needs: "busybox zip", script: `cd "$B" && zip -qr ../b.zip . && busybox unzip -qo ../b.zip -d "$M"`, fails: true},

	{act: "tar x", needs: "tar", script: `tar cf b.tar -C "$B" . && tar xf b.tar -C "$M"`, fails: true},
	{act: "tar x --overwrite", needs: "tar", script: `tar cf b.tar -C "$B" . && tar xf b.tar --overwrite -C "$M"`, fails: true},
	{act: "tar x --overwrite-dir", needs: "tar", script: `tar cf b.tar -C "$B" . && tar xf b.tar --overwrite-dir -C "$M"`, fails: true},
	{act: "tar x --unlink-first", needs: "tar", script: `tar cf b.tar -C "$B" . && tar xf b.tar --unlink-first -C "$M"`, fails: true},
	{act: "tar x --keep-old-files", needs: "tar", script: `tar cf b.tar -C "$B" . && tar xf b.tar --keep-old-files -C "$M"`, fails: true},
	{act: "tar x --keep-newer-files", needs: "tar", script: `tar cf b.tar -C "$B" . && tar xf b.tar --keep-newer-files -C "$M"`, fails: true},
	{act: "tar x FILE over DIR", needs: "tar", script: `mkdir f; echo x >f/3; tar cf f.tar -C f 3 && tar xf f.tar -C "$M"`, fails: true},
	{act: "tar x --unlink-first FILE over DIR", needs: "tar", script: `mkdir f; echo x >f/3; tar cf f.tar -C f 3 && tar xf f.tar --unlink-first -C "$M"`, fails: true},
	{act: "bsdtar x", needs: "bsdtar", script: `bsdtar cf b.tar -C "$B" . && bsdtar xf b.tar -C "$M"`, fails: true},
	{act: "bsdtar x -U", needs: "bsdtar", script: `bsdtar cf b.tar -C "$B" . && bsdtar xUf b.tar -C "$M"`, fails: true},
	{act: "bsdtar x FILE over DIR", needs: "bsdtar", script: `mkdir f; echo x >f/3; bsdtar cf f.tar -C f 3 && bsdtar xf f.tar -C "$M"`, fails: true},
	{act: "bsdtar x -U FILE over DIR", needs: "bsdtar", script: `mkdir f; echo x >f/3; bsdtar cf f.tar -C f 3 && bsdtar xUf f.tar -C "$M"`, fails: true},
	{act: "unzip -o", needs: "unzip zip", script: `cd "$B" && zip -qr ../b.zip . && unzip -qo ../b.zip -d "$M"`, fails: true},
	{act: "unzip -o FILE over DIR", needs: "unzip zip", script: `mkdir f; cd f; echo x >3; zip -q ../f.zip 3 && unzip -qo ../f.zip -d "$M"`, fails: true},
	{act: "7z x -aoa", needs: "7z", script: `(cd "$B" && 7z a ../b.7z . >/dev/null) && 7z x -aoa -o"$M" b.7z >/dev/null`, fails: true},
	{act: "7z x -y", needs: "7z", script: `(cd "$B" && 7z a ../b.7z . >/dev/null) && 7z x -y -o"$M" b.7z >/dev/null`, fails: true},
	{act: "7z x -aoa FILE over DIR", needs: "7z", script: `mkdir f; echo x >f/3; (cd f && 7z a ../f.7z . >/dev/null) && 7z x -aoa -o"$M" f.7z >/dev/null`, fails: true},
	{act: "cpio -idu", needs: "cpio", script: `(cd "$B" && find . | cpio -o --quiet >../b.cpio) && cd "$M" && cpio -idu --quiet <"$W/b.cpio"`, fails: true},
	{act: "cpio -idu FILE over DIR", needs: "cpio", script: `mkdir f; echo x >f/3; (cd f && echo 3 | cpio -o --quiet >../f.cpio) && cd "$M" && cpio -idu --quiet <"$W/f.cpio"`},
	{act: "cpio -pdu", needs: "cpio", script: `cd "$B" && find . | cpio -pdu --quiet "$M"`, fails: true},

	{act: "rsync -a", needs: "rsync", script: `rsync -a "$B/" "$M/"`, fails: true},
	{act: "rsync -a --inplace", needs: "rsync", script: `rsync -a --inplace "$B/" "$M/"`, fails: true},
	{act: "rsync -a --ignore-times", needs: "rsync", script: `rsync -a --ignore-times "$E/" "$M/"`, fails: true},
	{act: "rsync -a --delete, nothing missing", needs: "rsync", script: `rsync -a --delete "$B/" "$M/"`, fails: true},
	{act: "rsync -a --delete, equal", needs: "rsync", script: `rsync -a --delete "$E/" "$M/"`},
	{act: "rsync -a --delete, a file missing", needs: "rsync", script: `rm "$E"/*/headers.txt; rsync -a --delete "$E/" "$M/"`, fails: true},
	{act: "rsync -a --delete-excluded of files", needs: "rsync", script: `rsync -a --delete-excluded --exclude='*.txt' "$E/" "$M/"`},
	{act: "rsync -a FILE over DIR", needs: "rsync", script: `mkdir f; echo x >f/3; rsync -a f/ "$M/"`, fails: true},
	{act: "rsync -a --backup", needs: "rsync", script: `rsync -a --backup "$B/" "$M/"`, fails: true},

	{act: "vim :w!", needs: "vim", script: `vim -Nu NONE -n -es "$M/3/body.txt" -c 'normal Ox' -c 'w!' -c 'qa!' >/dev/null`, fails: true},
	{act: "vim :wq!", needs: "vim", script: `vim -Nu NONE -n -es "$M/3/body.txt" -c 'normal Ox' -c 'wq!' -c 'cq' >/dev/null`, fails: true},
	{act: "vim :w! with nobackupcopy", needs: "vim", script: `vim -Nu NONE -n -es "$M/3/body.txt" -c 'set backupcopy=no' -c 'normal Ox' -c 'w!' -c 'cq' >/dev/null`, fails: true},
	{act: "emacs save-buffer", needs: "emacs", script: `emacs -Q --batch "$M/3/body.txt" --eval '(progn (insert "x") (save-buffer))'`, fails: true},
	{act: "nano ^O", needs: "nano tmux", script: inTmux + `start "nano '$M/3/body.txt'"; screen 'third'; press x; press C-o; screen 'Name to Write'; press Enter; screen 'Error|not permitted'; press C-x; screen 'Save mod'; press n; ended`},
	{act: "sed -i", script: `sed -i s/The/That/ "$M"/*/body.txt`, fails: true},
	{act: "perl -i", needs: "perl", script: `perl -pi -e s/The/That/ "$M"/*/body.txt`},
	{act: "ed", needs: "ed", script: `printf '1s/The/That/\nw\nq\n' | ed -s "$M/3/body.txt"`, fails: true},

	{act: "git checkout -f", needs: "git", script: gitTrees + `git checkout -qf other -- .`, fails: true},
	{act: "git switch", needs: "git", script: gitTrees + `git switch -q other`},
	{act: "git reset --hard", needs: "git", script: gitTrees + `git reset -q --hard other`, fails: true},
	{act: "git rm of a file", needs: "git", script: gitTrees + `git update-index -q --refresh; git rm -q 2/body.txt`},
	{act: "unison", needs: "unison", script: `unison -batch -ui text "$E" "$M" >/dev/null 2>&1; cp "$B/3/body.txt" "$E/3/"; unison -batch -ui text "$E" "$M" >/dev/null`, fails: true},
	{act: "unison -force", needs: "unison", script: `unison -batch -ui text -force "$B" "$B" "$M" >/dev/null`, fails: true},
	{act: "restic restore", needs: "restic", script: `restic -q init -r r >/dev/null && (cd "$B" && restic -q -r ../r backup . >/dev/null) && restic -q -r r restore latest --target "$M" >/dev/null`, fails: true},
	{act: "borg extract", needs: "borg", script: `borg init -e none r && (cd "$B" && borg create ../r::a .) && cd "$M" && borg extract "$W/r::a"`, fails: true},
	{act: "gio copy", needs: "gio", script: `gio copy "$B/3/body.txt" "$M/3/body.txt"`, fails: true},
	{act: "gio copy FILE over DIR", needs: "gio", script: `gio copy -T "$B/3/body.txt" "$M/3"`, fails: true},
	{act: "gio move FILE", needs: "gio", script: `gio move "$B/3/body.txt" "$M/3/body.txt"`, fails: true},
	{act: "gio move DIR", needs: "gio", script: `gio move -T "$B/3" "$M/3"`, fails: true},
	{act: "gio save", needs: "gio", script: `echo new | gio save "$M/3/body.txt"`, fails: true},

	{act: "python shutil.copytree", needs: "python3", script: `python3 -c 'import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)' "$B" "$M"`, fails: true},
	{act: "python shutil.copy", needs: "python3", script: `python3 -c 'import shutil, sys; shutil.copy(*sys.argv[1:])' "$B/3/body.txt" "$M/3/body.txt"`, fails: true},
	{act: "python shutil.move", needs: "python3", script: `python3 -c 'import shutil, sys; shutil.move(*sys.argv[1:])' "$B/3" "$M"`, fails: true},
	{act: "python shutil.move FILE", needs: "python3", script: `python3 -c 'import shutil, sys; shutil.move(*sys.argv[1:])' "$B/3/body.txt" "$M/3/body.txt"`, fails: true},
	{act: "python zipfile", needs: "python3 zip", script: `(cd "$B" && zip -qr ../b.zip .) && python3 -c 'import zipfile, sys; zipfile.ZipFile("b.zip").extractall(sys.argv[1])' "$M"`, fails: true},
	{act: "python tarfile", needs: "python3 tar", script: `tar cf b.tar -C "$B" . && python3 -c 'import tarfile, sys; tarfile.open("b.tar").extractall(sys.argv[1])' "$M"`, fails: true},
	{act: "perl File::Copy", needs: "perl", script: `perl -MFile::Copy -e 'move($ARGV[0], $ARGV[1]) or die "$!\n"' "$B/3/body.txt" "$M/3/body.txt"`, fails: true},
}

// TestOverwritingLosesNothing writes over messages with many programs. Each of
// them may say what it likes; what counts is what the server has afterwards.
func TestOverwritingLosesNothing(t *testing.T) { doDeeds(t, overwriting) }
