package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// memoryTree serves a tree from memory, with the default options of go-fuse. Its
// arguments are a directory to copy, or a number of empty directories, and the
// mount point.
func memoryTree(ctx context.Context, args []string) error {
	source, dir := args[0], args[1]
	root := &memoryDir{}
	if n, err := strconv.Atoi(source); err == nil {
		for i := range n {
			date := time.Date(2001, 1, 1, 12+i, 0, 0, 0, time.UTC)
			root.children = append(root.children, memoryEntry{strconv.Itoa(i + 1), &memoryDir{date: date}})
		}
	} else if root, err = readTree(source); err != nil {
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
	children []memoryEntry
}

type memoryEntry struct {
	name string
	node gofs.InodeEmbedder
}

// OnAdd implements gofs.NodeOnAdder.
func (d *memoryDir) OnAdd(ctx context.Context) {
	for _, c := range d.children {
		var mode uint32 = syscall.S_IFREG
		if _, ok := c.node.(*memoryDir); ok {
			mode = syscall.S_IFDIR
		}
		d.AddChild(c.name, d.NewPersistentInode(ctx, c.node, gofs.StableAttr{Mode: mode}), false)
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
	d := &memoryDir{date: info.ModTime()}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		var node gofs.InodeEmbedder
		if e.IsDir() {
			node, err = readTree(path)
		} else {
			node, err = readLeaf(path, e)
		}
		if err != nil {
			return nil, err
		}
		d.children = append(d.children, memoryEntry{e.Name(), node})
	}
	return d, nil
}

func readLeaf(path string, e fs.DirEntry) (*gofs.MemRegularFile, error) {
	info, err := e.Info()
	if err != nil {
		return nil, err
	}
	f := &gofs.MemRegularFile{}
	f.Data, err = os.ReadFile(path)
	f.Attr.Mode = 0o644
	date := info.ModTime()
	f.Attr.SetTimes(nil, &date, &date)
	return f, err
}
