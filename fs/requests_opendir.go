//go:build linux || freebsd

package fs

import "github.com/hanwen/go-fuse/v2/fuse"

// noOpendir is the kernel's word that it can do without OPENDIR.
const noOpendir = fuse.CAP_NO_OPENDIR_SUPPORT
