package nfs

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// File handles live as long as the file: they hold what replicas share, and
// nothing of a server, a region or an "fs-" id.
//
//	 1  version (1)
//	 1  kind: 1 = file, 2 = pseudo root, 3 = file, by an access point
//	16  lineage             (kinds 1 and 3)
//	 8  inode number        (kinds 1 and 3)
//	16  seal                (kind 3): see confine.go
//	 4  CRC32C of the above
const (
	handleVersion = 1
	handleFile    = 1
	handlePseudo  = 2
	handleSealed  = 3

	// sealSize is bytes of the code: nobody guesses 128 bits.
	sealSize         = 16
	handleFileSize   = 2 + 16 + 8 + 4
	handleSealedSize = handleFileSize + sealSize
	handlePseudoSize = 2 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sealHandle(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// fileHandle is the handle of an inode.
func fileHandle(l fs.Lineage, ino fs.Ino) []byte {
	b := make([]byte, 0, handleFileSize)
	b = append(b, handleVersion, handleFile)
	b = append(b, l[:]...)
	return sealHandle(binary.BigEndian.AppendUint64(b, uint64(ino)))
}

func pseudoHandle() []byte {
	return sealHandle([]byte{handleVersion, handlePseudo})
}

// parseHandle reads a handle; pseudo tells that it is the pseudo root's.
func parseHandle(b []byte) (l fs.Lineage, ino fs.Ino, pseudo bool, st xdr.Status) {
	if len(b) < handlePseudoSize || b[0] != handleVersion {
		return l, 0, false, xdr.ErrBadHandle
	}
	body := b[:len(b)-4]
	if binary.BigEndian.Uint32(b[len(body):]) != crc32.Checksum(body, castagnoli) {
		return l, 0, false, xdr.ErrBadHandle
	}
	switch {
	case b[1] == handleFile && len(b) == handleFileSize, b[1] == handleSealed && len(b) == handleSealedSize:
		copy(l[:], b[2:])
		return l, fs.Ino(binary.BigEndian.Uint64(b[18:])), false, xdr.OK
	case b[1] == handlePseudo && len(b) == handlePseudoSize:
		return l, 0, true, xdr.OK
	}
	return l, 0, false, xdr.ErrBadHandle
}
