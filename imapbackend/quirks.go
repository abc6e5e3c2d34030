package imapbackend

import (
	"sync/atomic"
	"time"
)

// quirks are what the server does in a way of its own, or cannot do although it
// offers it, as far as that was found out. They hold for all its connections, until
// the backend closes.
type quirks struct {
	noScram    atomic.Bool // PLAIN worked where SCRAM-SHA-256 did not
	noCompress atomic.Bool // COMPRESS broke the connection
	plainList  atomic.Bool // LIST with RETURN was refused
	noStatus   atomic.Bool // STATUS broke the connection, or brought nothing
	noPartial  atomic.Bool // part of a section brought who knows which
	noModSeq   atomic.Bool // MODSEQ was refused
	noRights   atomic.Bool // MYRIGHTS broke the connection
	sizesLie   atomic.Bool // RFC822.SIZE is not the size of what it sends

	searchWay    atomic.Int32 // byESearch, bySearch or byFetch
	searchBreaks atomic.Int32 // connections that ended with a SEARCH
	plainUntil   atomic.Int64 // nothing that is not needed is asked before, in Unix seconds
}

// The ways to list messages. The next one is taken when the server refuses one, or
// breaks off or says nothing twice.
const (
	byESearch = iota
	bySearch
	byFetch
)

// plainFor is how long a server on which nothing has worked is asked for no more
// than what is needed.
const plainFor = 15 * time.Minute

func (q *quirks) isPlain() bool { return time.Now().Unix() < q.plainUntil.Load() }

// failed notes that nothing has worked on a connection. It may be something that the
// server offers and cannot do. If it is not that, the next one is as usual.
func (q *quirks) failed(wasPlain bool) {
	var until int64
	if !wasPlain {
		until = time.Now().Add(plainFor).Unix()
	}
	q.plainUntil.Store(until)
}
