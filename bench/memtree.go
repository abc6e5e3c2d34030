package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// serveTree is the hidden first argument of the process that serves a tree
// from memory: a process must not read a mount that it serves.
const serveTree = "serve-tree"

// treeMounted is the line on standard error that says that the tree can be used.
const treeMounted = "bench: mounted"

// memoryTree serves a tree from memory on dir, with the default options of
// go-fuse. source is a directory to copy, or a number of empty directories.
func memoryTree(source, dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root, err := readTree(source)
	if n, notNumber := strconv.Atoi(source); notNumber == nil {
		root, err = &memoryDir{children: map[string]gofs.InodeEmbedder{}}, nil
		for i := range n {
			root.children[strconv.Itoa(i+1)] = &memoryDir{date: time.Date(2001, 1, 1, 12+i, 0, 0, 0, time.UTC)}
		}
	}
	if err != nil {
		return err
	}
	server, err := gofs.Mount(dir, root, nil)
	if err != nil {
		return fmt.Errorf("cannot mount the tree in memory: %v", err)
	}
	fmt.Fprintln(os.Stderr, treeMounted)
	<-ctx.Done()
	return server.Unmount()
}

// memoryDir is a directory that is filled when it is mounted.
type memoryDir struct {
	gofs.Inode
	date     time.Time
	children map[string]gofs.InodeEmbedder
}

// OnAdd implements gofs.NodeOnAdder.
func (d *memoryDir) OnAdd(ctx context.Context) {
	for _, name := range slices.Sorted(maps.Keys(d.children)) {
		node := d.children[name]
		var mode uint32 = syscall.S_IFREG
		if _, ok := node.(*memoryDir); ok {
			mode = syscall.S_IFDIR
		}
		d.AddChild(name, d.NewPersistentInode(ctx, node, gofs.StableAttr{Mode: mode}), false)
	}
	d.children = nil
}

// Getattr implements gofs.NodeGetattrer.
func (d *memoryDir) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = 0o755
	out.SetTimes(nil, &d.date, &d.date)
	return 0
}

// readTree reads a directory of plain files.
func readTree(dir string) (*memoryDir, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	d := &memoryDir{date: info.ModTime(), children: map[string]gofs.InodeEmbedder{}}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		var node gofs.InodeEmbedder
		if path := filepath.Join(dir, e.Name()); e.IsDir() {
			node, err = readTree(path)
		} else {
			node, err = readLeaf(path)
		}
		if err != nil {
			return nil, err
		}
		d.children[e.Name()] = node
	}
	return d, err
}

func readLeaf(path string) (*gofs.MemRegularFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	f := &gofs.MemRegularFile{Attr: fuse.Attr{Mode: 0o644}}
	f.Data, err = os.ReadFile(path)
	date := info.ModTime()
	f.Attr.SetTimes(nil, &date, &date)
	return f, err
}
