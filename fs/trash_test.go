package fs

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"imapfs/mail"
)

// slowKeeper keeps one value, and takes a while.
type slowKeeper struct {
	mu    sync.Mutex
	value []byte
}

func (k *slowKeeper) Get(string) ([]byte, bool) { return k.value, k.value != nil }

func (k *slowKeeper) Put(_ string, value []byte) {
	for range len(value) % 7 {
		runtime.Gosched()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.value = value
}

// TestTrashIsKept changes the trash from many sides at once: the last change is kept, with
// all before.
func TestTrashIsKept(t *testing.T) {
	for range 20 {
		var k slowKeeper
		var now, next trash
		now.recall(&k)
		var all sync.WaitGroup
		for n := range 50 {
			all.Go(func() {
				now.change(&k, func() { now.items[named{trashFiles, fmt.Sprint(n)}] = mail.ID{Folder: "Trash", UID: uint32(n)} })
			})
		}
		all.Wait()
		if next.recall(&k); len(next.in(trashFiles)) != 50 {
			t.Fatalf("%d of 50 are kept", len(next.in(trashFiles)))
		}
	}
}
