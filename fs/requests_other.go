//go:build !linux && !freebsd

package fs

// noOpendir is the kernel's word that it can do without OPENDIR: none here.
const noOpendir = 0
