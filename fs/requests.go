package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// requests stands between the kernel and the library's tree of nodes. It sees who asks
// (believers.go), and spares OPENDIR and RELEASEDIR. Answered with ENOSYS once, the kernel sends
// them no more and keeps every listing until it is declared void. What OPENDIR
// would have failed with, READDIR fails with then.
type requests struct {
	fuse.RawFileSystem
	fsys   *FS
	server *fuse.Server
}

// Init implements fuse.RawFileSystem.
func (r *requests) Init(s *fuse.Server) {
	r.server = s
	r.RawFileSystem.Init(s)
}

// OpenDir implements fuse.RawFileSystem.
func (r *requests) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if r.server.KernelSettings().Flags64()&noOpendir != 0 {
		return fuse.ENOSYS
	}
	return r.RawFileSystem.OpenDir(cancel, in, out)
}

// Lookup implements fuse.RawFileSystem.
func (r *requests) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	r.fsys.meets(in.Pid)
	return r.RawFileSystem.Lookup(cancel, in, name, out)
}

// GetAttr implements fuse.RawFileSystem.
func (r *requests) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	r.fsys.meets(in.Pid)
	return r.RawFileSystem.GetAttr(cancel, in, out)
}

// ReadDir implements fuse.RawFileSystem.
func (r *requests) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return r.readDir(cancel, in, out, r.RawFileSystem.ReadDir)
}

// ReadDirPlus implements fuse.RawFileSystem.
func (r *requests) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return r.readDir(cancel, in, out, r.RawFileSystem.ReadDirPlus)
}

// readDir lists from the offset in the request. The library wants a handle: one
// is opened for each request that has none. Offsets in our listings mean the
// same in each (listing.go).
func (r *requests) readDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList,
	read func(<-chan struct{}, *fuse.ReadIn, *fuse.DirEntryList) fuse.Status) fuse.Status {
	r.fsys.meets(in.Pid)
	if in.Fh != 0 {
		return read(cancel, in, out)
	}
	var opened fuse.OpenOut
	if status := r.RawFileSystem.OpenDir(cancel, &fuse.OpenIn{InHeader: in.InHeader}, &opened); status != fuse.OK {
		return status
	}
	defer r.RawFileSystem.ReleaseDir(&fuse.ReleaseIn{InHeader: in.InHeader, Fh: opened.Fh})
	withHandle := *in
	withHandle.Fh = opened.Fh
	return read(cancel, &withHandle, out)
}

// Open implements fuse.RawFileSystem.
func (r *requests) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if r.fsys.noOpen.Load() && in.Flags&(syscall.O_WRONLY|syscall.O_RDWR) == 0 && r.server.KernelSettings().Flags64()&fuse.CAP_NO_OPEN_SUPPORT != 0 {
		return fuse.ENOSYS
	}
	return r.RawFileSystem.Open(cancel, in, out)
}

// Read implements fuse.RawFileSystem. The library wants a handle: one is opened
// for each request that has none.
func (r *requests) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if in.Fh != 0 {
		return r.RawFileSystem.Read(cancel, in, buf)
	}
	var opened fuse.OpenOut
	if status := r.RawFileSystem.Open(cancel, &fuse.OpenIn{InHeader: in.InHeader}, &opened); status != fuse.OK {
		return nil, status
	}
	defer r.RawFileSystem.Release(cancel, &fuse.ReleaseIn{InHeader: in.InHeader, Fh: opened.Fh})
	withHandle := *in
	withHandle.Fh = opened.Fh
	return r.RawFileSystem.Read(cancel, &withHandle, buf)
}

// Flush implements fuse.RawFileSystem. It is for letters only: where there can be none
// the kernel is told so, once.
func (r *requests) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	if r.fsys.opt.ReadOnly {
		return fuse.ENOSYS
	}
	return r.RawFileSystem.Flush(cancel, in)
}
