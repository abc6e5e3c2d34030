package fs

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"imapfs/mail"
)

// keepAll makes all of the message be in the cache on disk, and returns its
// size.
func (n *messageNode) keepAll(ctx context.Context) (int64, error) {
	start, err := n.startOfWhole(ctx)
	if err == nil {
		n.fsys.keep(messageKey(n.id, "", 0, wholeSize), start)
	}
	if err != nil || len(start) < wholeSize {
		return int64(len(start)), err
	}
	root, err := n.structure(ctx)
	if err != nil {
		return 0, err
	}
	attr, err := n.attr(ctx)
	if err != nil {
		return 0, err
	}
	l := layout{}
	if attr.Size <= n.fsys.mirrorWhole() {
		raw, err := n.cut(ctx, 0, -1)
		if err != nil {
			return 0, err
		}
		l = layoutOf(raw, root)
	}
	// From here on, what has a place in the layout is not fetched again.
	n.layout.Store(&l)
	for _, f := range n.files(root) {
		if f.kind == kindRaw && attr.Size > n.fsys.mirrorWhole() {
			continue
		}
		if _, err := f.exactly(ctx); err != nil {
			return 0, err
		}
	}
	b, err := json.Marshal(l)
	if err != nil {
		return 0, err
	}
	n.fsys.cache.Disk().Put(layoutKey(n.id), b)
	return attr.Size, nil
}

// keep makes sure that a value from the cache is on its way to the disk: it may
// be in memory alone, if the disk was too busy to take it when it came.
func (fsys *FS) keep(key string, value []byte) {
	if disk := fsys.cache.Disk(); !disk.Has(key) {
		disk.Put(key, value)
	}
}

// startOfWhole is start for a message that is to be kept: of a large one it is
// cut out of the first piece, so that nothing is fetched twice.
func (n *messageNode) startOfWhole(ctx context.Context) ([]byte, error) {
	attr, known := n.known()
	if !known || attr.Size < wholeSize || attr.Size > n.fsys.mirrorWhole() {
		return n.start(ctx)
	}
	return n.fsys.cache.Get(ctx, messageKey(n.id, "", 0, wholeSize), func() ([]byte, error) {
		first, err := n.piece(ctx, "", 0, pieceSize)
		return slices.Clone(first[:min(len(first), wholeSize)]), err
	})
}

// files returns the nodes of all files of the message.
func (n *messageNode) files(root *mail.Part) []*fileNode {
	all := []*fileNode{{message: n, kind: kindHeaders}, {message: n, kind: kindBody}, {message: n, kind: kindRaw}}
	if html := root.HTML(); html != nil {
		all = append(all, &fileNode{message: n, kind: kindHTML, part: html})
	}
	for _, a := range root.Attachments() {
		all = append(all, &fileNode{message: n, kind: kindAttachment, part: a.Part})
	}
	return all
}

// layout tells where the sections of a message are in its bytes: from, to. The
// parts of a message that is kept whole are cut out of it.
type layout map[string][2]int64

func layoutKey(id mail.ID) string {
	return messagePrefix(id) + "layout" + strconv.Itoa(mail.Version)
}

// layoutOf has the sections in which what Parse finds in raw is the part that
// the server has described in root. In broken mail it may not be.
func layoutOf(raw []byte, root *mail.Part) layout {
	l := layout{"HEADER": {0, int64(len(mail.SplitHeader(raw)))}}
	parsed := mail.Parse(raw)
	for _, p := range root.Leaves() {
		if mine := parsed.Find(p.Section); mine != nil && mine.Type == p.Type && mine.Encoding == p.Encoding && mine.Size == p.Size {
			if from, to, ok := mine.Range(); ok {
				l[p.Section] = [2]int64{int64(from), int64(to)}
			}
		}
	}
	return l
}

// kept returns the layout of the message if it is kept whole, else nil.
func (n *messageNode) kept() layout {
	if l := n.layout.Load(); l != nil {
		return *l
	}
	if attr, known := n.known(); known && attr.Size < wholeSize {
		return nil
	}
	b, ok := n.fsys.cache.Disk().Get(layoutKey(n.id))
	var l layout
	if !ok || json.Unmarshal(b, &l) != nil {
		return nil
	}
	n.layout.Store(&l)
	return l
}

// cut returns the bytes from, to of the raw message, to its end if to is
// negative.
func (n *messageNode) cut(ctx context.Context, from, to int64) ([]byte, error) {
	var b []byte
	for i := from / pieceSize; to < 0 || i*pieceSize < to; i++ {
		p, err := n.piece(ctx, "", i*pieceSize, pieceSize)
		if err != nil {
			return nil, err
		}
		first := max(from-i*pieceSize, 0)
		last := int64(len(p))
		if to >= 0 {
			last = min(last, to-i*pieceSize)
		}
		if first < last {
			b = append(b, p[first:last]...)
		}
		if len(p) < pieceSize {
			if to > i*pieceSize+int64(len(p)) {
				return nil, fmt.Errorf("%s is shorter than it was: %w", n.id, mail.ErrStale)
			}
			break
		}
	}
	return b, nil
}
