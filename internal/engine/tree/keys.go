package tree

import (
	"encoding/binary"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Keys, integers big-endian so that order is order:
//
//	c dir cookie       directory entry by cookie   -> ino, type, name
//	d dir name         directory entry by name     -> ino, type, cookie, stamp
//	e ino offset       extent
//	h seq              epoch that begins at seq
//	i ino              inode
//	m                  applied position and counters (local view of them)
//	o ino              orphan: no name, kept because it is open
//	p ino              pending: extents beyond its end wait for Reclaim
//	r owner            reclaim record of an NFS client
//	s key              setting
//	x ino name         extended attribute          -> stamp, value
//	z part             progress of a stage (of no meaning in a live tree)
const (
	prefixCookie  = 'c'
	prefixEntry   = 'd'
	prefixExtent  = 'e'
	prefixEpoch   = 'h'
	prefixInode   = 'i'
	prefixMeta    = 'm'
	prefixOrphan  = 'o'
	prefixPending = 'p'
	prefixClient  = 'r'
	prefixSetting = 's'
	prefixXattr   = 'x'
	prefixStage   = 'z'
)

var metaKey = []byte{prefixMeta}

func key8(prefix byte, a uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, a)
}

func key16(prefix byte, a, b uint64) []byte {
	return binary.BigEndian.AppendUint64(key8(prefix, a), b)
}

func inodeKey(ino fs.Ino) []byte              { return key8(prefixInode, uint64(ino)) }
func orphanKey(ino fs.Ino) []byte             { return key8(prefixOrphan, uint64(ino)) }
func pendingKey(ino fs.Ino) []byte            { return key8(prefixPending, uint64(ino)) }
func cookieKey(dir fs.Ino, c uint64) []byte   { return key16(prefixCookie, uint64(dir), c) }
func extentKey(ino fs.Ino, off uint64) []byte { return key16(prefixExtent, uint64(ino), off) }
func epochKey(seq uint64) []byte              { return key8(prefixEpoch, seq) }
func settingKey(k string) []byte              { return append([]byte{prefixSetting}, k...) }
func clientKey(owner []byte) []byte           { return append([]byte{prefixClient}, owner...) }
func entryKey(dir fs.Ino, name fs.Name) []byte {
	return append(key8(prefixEntry, uint64(dir)), name...)
}

func xattrKey(ino fs.Ino, name fs.Name) []byte {
	return append(key8(prefixXattr, uint64(ino)), name...)
}

// after is the first key behind every key that begins with k.
func after(k []byte) []byte {
	end := append([]byte(nil), k...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] != 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}
