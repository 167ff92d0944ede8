package nfsclient

import (
	"fmt"
	"os"
	"syscall"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"golang.org/x/sys/unix"
)

// localInfo describes a file of this machine as Info does one of the server.
// inode is unique on the machine.
func localInfo(fi os.FileInfo) (info Info, inode localInode, err error) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return info, inode, fmt.Errorf("%s: the system tells too little about this file", fi.Name())
	}
	info = Info{Name: fi.Name(), Type: localTypes[st.Mode&syscall.S_IFMT], Mode: st.Mode & 0o7777, Nlink: uint32(st.Nlink),
		UID: st.Uid, GID: st.Gid, Size: uint64(st.Size), ID: st.Ino,
		Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev),
		Atime: fs.Time{Sec: st.Atim.Sec, Nsec: uint32(st.Atim.Nsec)},
		Mtime: fs.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}}
	return info, localInode{st.Dev, st.Ino}, nil
}

type localInode struct{ dev, ino uint64 }

var localTypes = map[uint32]fs.Type{
	syscall.S_IFREG: fs.TypeRegular, syscall.S_IFDIR: fs.TypeDir, syscall.S_IFLNK: fs.TypeSymlink,
	syscall.S_IFIFO: fs.TypeFIFO, syscall.S_IFSOCK: fs.TypeSocket, syscall.S_IFBLK: fs.TypeBlock, syscall.S_IFCHR: fs.TypeChar,
}
