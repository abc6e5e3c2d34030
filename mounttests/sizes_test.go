package mounttests

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
)

// TestSizeIsExactOnceOpen opens each file of a mount that has loaded nothing:
// fstat after open tells how many bytes can be read.
func TestSizeIsExactOnceOpen(t *testing.T) {
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		mnt := harness.Mount(t, a, "--show", "raw,html")
		n := 0
		err := filepath.WalkDir(mnt, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			n++
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return err
			}
			b, err := io.ReadAll(f)
			if err != nil {
				return err
			}
			if int64(len(b)) != info.Size() {
				t.Errorf("%s: fstat says %d bytes, read gives %d", path, info.Size(), len(b))
			}
			return nil
		})
		harness.Must(t, err)
		if n < 100 {
			t.Errorf("only %d files", n)
		}
	})
}

// asKIO copies files as KDE's KIO does, with its library mapped: as many bytes as stat has
// told before the file is opened. An error is told, and the file copied again.
const asKIO = `
import errno, mmap, os, sys
library = os.open(sys.argv[1], os.O_RDONLY)
mapped = mmap.mmap(library, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
def copy(path):
    size = os.stat(path).st_size
    file = os.open(path, os.O_RDONLY)
    try:
        copied = b""
        while len(copied) < size:
            chunk = os.read(file, min(32768, size - len(copied)))
            if not chunk:
                sys.exit("KIO would wait for ever for the end of " + path)
            copied += chunk
        if os.read(file, 1):
            sys.exit("KIO would cut short " + path)
    finally:
        os.close(file)
for dir, dirs, names in os.walk(sys.argv[2]):
    for name in names:
        try:
            copy(dir + "/" + name)
        except BlockingIOError:
            print("again")
            copy(dir + "/" + name)
`

// TestSizeIsExactForKIO copies all files of a mount that has loaded nothing, also after
// the kernel was told estimates of all sizes: then the first may be refused.
func TestSizeIsExactForKIO(t *testing.T) {
	harness.Need(t, "python3")
	library := filepath.Join(t.TempDir(), "libKF6KIOCore.so.6")
	harness.Must(t, os.WriteFile(library, []byte("KIO"), 0o600))
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		for _, looked := range []bool{false, true} {
			mnt := harness.Mount(t, a, "--show", "raw,html")
			if looked {
				harness.Run(t, "find", mnt, "-size", "+1000k")
			}
			refused := strings.Count(harness.Run(t, "python3", "-c", asKIO, library, mnt), "again")
			if refused > 1 || refused > 0 && !looked {
				t.Errorf("refused %d times, looked at before: %t", refused, looked)
			}
		}
	})
}

// TestOpenTogether has several programs open the same file for the first time
// at once, when the kernel still holds an estimate that is a byte too small:
// each has to see all of it.
func TestOpenTogether(t *testing.T) {
	const files, readers = 500, 8
	// One byte on a line of its own, which the estimate leaves out.
	want := bytes.Repeat([]byte("x"), 58)
	line := base64.StdEncoding.EncodeToString(want)
	var mail [][]byte
	for range files {
		mail = append(mail, fmt.Appendf(nil, "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=x\r\n"+
			"Content-Transfer-Encoding: base64\r\n\r\n%s\r\n%s\r\n", line[:76], line[76:]))
	}
	s := dovecot.Start(t, dovecot.Options{})
	s.Deliver(t, mail...)
	dir := harness.Mount(t, harness.DovecotAccount(s))
	for uid := 1; uid <= files; uid++ {
		path := filepath.Join(dir, "INBOX", fmt.Sprint(uid), "attachments", "x")
		if info, err := os.Stat(path); err != nil {
			t.Fatal(err)
		} else if uid == 1 && info.Size() >= int64(len(want)) {
			t.Fatalf("an estimate of %d bytes is not too small", info.Size())
		}
		begin := make(chan struct{})
		var wg sync.WaitGroup
		for range readers {
			wg.Go(func() {
				<-begin
				if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
					t.Errorf("message %d: %d bytes, %v, want %d", uid, len(got), err, len(want))
				}
			})
		}
		close(begin)
		wg.Wait()
	}
}

// asCounter looks at all files, as the thread of Dolphin does that counts what is in directories.
const asCounter = `
import ctypes, mmap, os, sys, threading
library = os.open(sys.argv[1], os.O_RDONLY)
mapped = mmap.mmap(library, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
def count():
    ctypes.CDLL(None).prctl(15, sys.argv[3].encode()) # PR_SET_NAME
    for dir, dirs, names in os.walk(sys.argv[2]):
        for name in names:
            os.stat(dir + "/" + name)
thread = threading.Thread(target=count)
thread.start()
thread.join()
`

// TestCountingLoadsNothing looks at the files of all messages without a need for their exact sizes.
func TestCountingLoadsNothing(t *testing.T) {
	harness.Need(t, "python3")
	library := filepath.Join(t.TempDir(), "libKF6KIOCore.so.6")
	harness.Must(t, os.WriteFile(library, []byte("KIO"), 0o600))
	p, mnt, _ := letters(t, 50)
	for _, name := range []string{"QThread", "KDirectoryContentsCounterThread"} {
		harness.Run(t, "python3", "-c", asCounter, library, mnt, name)
	}
	if uids, _ := p.Content(t); len(uids) > 0 {
		t.Errorf("%d messages were loaded", len(uids))
	}
	harness.Run(t, "python3", "-c", asKIO, library, mnt)
	if uids, _ := p.Content(t); len(uids) != 50 {
		t.Errorf("%d messages were loaded for who copies", len(uids))
	}
}
