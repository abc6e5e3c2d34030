package content

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"imapfs/cache"
	"imapfs/mail"
)

const (
	// mirrorBatch bounds one command, 512 kB.
	mirrorBatch = 512 << 10
	// mirrorFlight is how many commands are under way at once: 2 MB fill a
	// line of 100 Mbit/s with 160 ms to the server.
	mirrorFlight = 4
	// mostWhole bounds Store.mostWhole, 32 MiB.
	mostWhole = 32 << 20
)

// mostWhole is up to which size a message is kept as it is, in bytes: it is taken
// apart in memory, of which a quarter of the cache's budget may be used for it. Of a
// larger one the parts are kept.
func (s *Store) mostWhole() int64 { return min(mostWhole, s.cache.Budget()/4) }

// fetchAll fetches these messages in their order, a few batches at a time. It
// returns when none is under way any more.
func (m *mirror) fetchAll(ctx context.Context, folder string, validity uint32, todo []missing) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, mirrorFlight)
	var flight atomic.Int64 // bytes that will be written
	var running sync.WaitGroup
	disk := m.cache.Disk()
	for len(todo) > 0 && ctx.Err() == nil {
		n, bytes := nextBatch(todo)
		batch := todo[:n]
		todo = todo[n:]
		bytes += bytes / 3 // the disk keeps more than the mail
		if disk.Failing() {
			cancel(errUnwritten)
			break
		}
		if disk.Used()+flight.Add(bytes) > disk.Budget() {
			cancel(errNoRoom)
			break
		}
		m.busy.wait(ctx)
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		running.Go(func() {
			defer func() { flight.Add(-bytes); <-slots }()
			if err := m.batch(ctx, folder, validity, batch); err != nil {
				cancel(err)
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// nextBatch tells how many of the messages are fetched next, and their bytes: some
// small ones, or one large one.
func nextBatch(todo []missing) (n int, bytes int64) {
	for n < len(todo) && (n == 0 || todo[n].size < wholeSize && bytes+todo[n].size <= mirrorBatch) {
		bytes += todo[n].size
		n++
		if todo[n-1].size >= wholeSize {
			break
		}
	}
	return n, bytes
}

// batch fetches messages: small ones with one command, a large one by itself.
func (m *mirror) batch(ctx context.Context, folder string, validity uint32, batch []missing) error {
	id := mail.ID{Folder: folder, UIDValidity: validity}
	claimed := make(claims, len(batch))
	var alone []uint32 // large, larger than was said, not come, or fetched just now by somebody else
	for _, w := range batch {
		if id.UID = w.uid; w.size >= wholeSize || !claimed.claim(m.cache, id) {
			alone = append(alone, w.uid)
		}
	}
	err := m.fetch(id, claimed, func(uid uint32, load *cache.Load, start []byte) {
		load.KeepOnDisk(start)
		if len(start) == wholeSize {
			alone = append(alone, uid)
		} else {
			m.came(int64(len(start)))
		}
	})
	alone = slices.AppendSeq(alone, maps.Keys(claimed))
	claimed.release()
	for _, uid := range alone {
		if id.UID = uid; err == nil {
			err = m.fetchAlone(ctx, id)
		}
	}
	return err
}

// fetchAlone fetches one message, of any size, and finds out the sizes of its files.
// In memory it is twice, as it comes and in pieces, and may wait for others that
// are too.
func (m *mirror) fetchAlone(ctx context.Context, id mail.ID) error {
	if attr, known, err := m.server.Known(id); err == nil && known {
		weight := 2 * min(attr.Size, m.mostWhole())
		if err := m.memory.Acquire(ctx, weight); err != nil {
			return err
		}
		defer m.memory.Release(weight)
	}
	message := m.Message(id)
	message.copied = true
	size, err := message.keepAll(ctx)
	switch {
	case err == nil:
		m.came(size)
	case errors.Is(err, mail.ErrNotFound):
		m.update(func(p *Progress) { p.Messages-- })
		err = nil
	case errors.Is(err, mail.ErrRefused):
		m.refuse(id, err)
		err = nil
	}
	return err
}

// keepAll makes all of the message be in the cache on disk, and returns its
// size.
func (m *Message) keepAll(ctx context.Context) (int64, error) {
	start, err := m.startOfWhole(ctx)
	if err == nil {
		m.store.keep(startKey(m.ID()), start)
	}
	if err != nil || len(start) < wholeSize {
		return int64(len(start)), err
	}
	root, err := m.Structure(ctx)
	if err != nil {
		return 0, err
	}
	attr, err := m.Attr(ctx)
	if err != nil {
		return 0, err
	}
	l := layout{}
	if attr.Size <= m.store.mostWhole() {
		raw, err := m.cut(ctx, 0, -1)
		if err != nil {
			return 0, err
		}
		l = layoutOf(raw, root)
	}
	// From here on, what has a place in the layout is not fetched again.
	m.layout.Store(&l)
	for _, f := range m.files(root) {
		if f.Kind == Raw && attr.Size > m.store.mostWhole() {
			continue
		}
		if _, err := f.Size(ctx); err != nil {
			return 0, err
		}
	}
	b, err := json.Marshal(l)
	if err != nil {
		return 0, err
	}
	m.store.cache.Disk().Put(layoutKey(m.ID()), b)
	return attr.Size, nil
}

// keep makes sure that a value from the cache is on its way to the disk: it may
// be in memory alone, if the disk was too busy to take it when it came.
func (s *Store) keep(key string, value []byte) {
	if disk := s.cache.Disk(); !disk.Has(key) {
		disk.Put(key, value)
	}
}

// startOfWhole is start for a message that is to be kept: of a large one it is
// cut out of the first piece, so that nothing is fetched twice.
func (m *Message) startOfWhole(ctx context.Context) ([]byte, error) {
	attr, known := m.Known()
	if !known || attr.Size < wholeSize || attr.Size > m.store.mostWhole() {
		return m.start(ctx)
	}
	return m.store.cache.Get(ctx, startKey(m.ID()), func() ([]byte, error) {
		first, err := m.piece(ctx, "", 0, pieceSize)
		return slices.Clone(first[:min(len(first), wholeSize)]), err
	})
}

// files returns all files of the message.
func (m *Message) files(root *mail.Part) []*File {
	all := []*File{m.File(Headers, nil), m.File(Body, nil), m.File(Raw, nil)}
	if html := root.HTML(); len(html) > 0 {
		all = append(all, m.File(HTML, html[0]))
	}
	for _, a := range root.Attachments() {
		all = append(all, m.File(Attachment, a.Part))
	}
	return all
}
