package imapbackend

import (
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"imapfs/mail"
)

// structuresKept bounds the BODYSTRUCTUREs in memory, in bytes: those of some
// 10,000 usual messages. They are counted by weight, because a stranger can
// send a message of thousands of parts, or with parameters as long as he likes.
const structuresKept = 16 << 20

// structures keeps the MIME trees that were used last.
type structures struct {
	mu   sync.Mutex // guards what follows
	used int
	lru  *simplelru.LRU[mail.ID, *mail.Part]
}

func newStructures() *structures {
	s := &structures{}
	lru, err := simplelru.NewLRU(math.MaxInt, func(_ mail.ID, root *mail.Part) { s.used -= weight(root) })
	if err != nil {
		panic(err) // only for a size below one
	}
	s.lru = lru
	return s
}

// Add keeps root, and drops what was not used for longest. The newest stays,
// whatever its weight: somebody waits for it.
func (s *structures) Add(id mail.ID, root *mail.Part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lru.Remove(id)
	s.lru.Add(id, root)
	s.used += weight(root)
	for s.used > structuresKept && s.lru.Len() > 1 {
		s.lru.RemoveOldest()
	}
}

// Get returns the tree of a message.
func (s *structures) Get(id mail.ID) (*mail.Part, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lru.Get(id)
}

// Contains is Get that does not count as a use.
func (s *structures) Contains(id mail.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lru.Contains(id)
}

// Remove forgets a message.
func (s *structures) Remove(id mail.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lru.Remove(id)
}

// weight is about what a tree takes in memory, in bytes.
func weight(p *mail.Part) int {
	n := 300 + len(p.Section) + len(p.ContentID) + len(p.Filename)
	for key, value := range p.Params {
		n += 100 + len(key) + len(value)
	}
	for _, c := range p.Children {
		n += weight(c)
	}
	return n
}
