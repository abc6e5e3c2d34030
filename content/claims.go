package content

import (
	"maps"
	"slices"

	"imapfs/cache"
	"imapfs/mail"
)

// claims are the starts of messages that are fetched with one command, by UID: those
// that have not come.
type claims map[uint32]*cache.Load

// claim has the start of a message wait for fetch, unless it is here or on its way.
func (c claims) claim(in *cache.Cache, id mail.ID) bool {
	load := in.Claim(startKey(id))
	if load != nil {
		c[id.UID] = load
	}
	return load != nil
}

// fetch fetches what was claimed in the folder of id, and hands it to came, which
// ends the load.
func (s *Store) fetch(id mail.ID, c claims, came func(uid uint32, load *cache.Load, start []byte)) error {
	if len(c) == 0 {
		return nil
	}
	l := mail.Listing{UIDValidity: id.UIDValidity, UIDs: slices.Sorted(maps.Keys(c))}
	return s.server.FetchStarts(id.Folder, l, wholeSize, func(uid uint32, start []byte) {
		if load := c[uid]; load != nil {
			delete(c, uid)
			came(uid, load, start)
		}
	})
}

// release gives up what has not come: whoever waits for it asks by himself.
func (c claims) release() {
	for _, load := range c {
		load.Release()
	}
}
