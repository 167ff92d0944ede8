package fs

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Lineage is the 128-bit identity of the data of a file system. All replicas
// share it; a clone gets one of its own.
type Lineage [16]byte

func (l Lineage) String() string { return hex.EncodeToString(l[:]) }

// ParseLineage reads the form that String writes.
func ParseLineage(s string) (Lineage, error) {
	var l Lineage
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(l) {
		return l, fmt.Errorf("lineage %q: want 32 hex digits", s)
	}
	copy(l[:], b)
	return l, nil
}

// Ino is an inode number. Bit 63 is zero; then follow 20 bits of the
// allocating epoch's counter, 10 bits of its member and 33 bits that count
// within the epoch. So neither a crash nor two branches of history ever give
// one number to two files.
type Ino uint64

// RootIno is the root directory of every file system (counter 0, member 0).
const RootIno Ino = 1

const (
	inoLocalBits = 33
	memberBits   = 10
	counterBits  = 20

	// MaxLocalIno is the largest number within an epoch; the engine begins a
	// new epoch when it is used up.
	MaxLocalIno = 1<<inoLocalBits - 1
	// MaxMember bounds the replicas that a lineage ever had.
	MaxMember = 1<<memberBits - 1
	// MaxEpochCounter bounds how often writers of a lineage ever started.
	MaxEpochCounter = 1<<counterBits - 1
)

// MakeIno gives the n-th inode number of an epoch, n in 1..MaxLocalIno.
func MakeIno(e EpochID, n uint64) Ino {
	return Ino(uint64(e.Short())<<inoLocalBits | n&MaxLocalIno)
}

// EpochID names one writer's stretch of history. Counter rises along every
// history; Member is the replica that wrote it (unique within the lineage);
// Nonce is random, so that equal ids mean the same stretch even if a disk was
// copied behind our back.
type EpochID struct {
	Counter uint32 // 0..MaxEpochCounter
	Member  uint16 // 0..MaxMember
	Nonce   uint64
}

// Short is the epoch's 30-bit id: counter and member. It is unique within a
// lineage and stands in inode numbers and extents.
func (e EpochID) Short() uint32 { return e.Counter<<memberBits | uint32(e.Member)&MaxMember }

func (e EpochID) String() string {
	return fmt.Sprintf("%d.%d-%016x", e.Counter, e.Member, e.Nonce)
}

// IsZero reports whether e is the absent epoch.
func (e EpochID) IsZero() bool { return e == EpochID{} }

// Chain is the running 128-bit hash of a history.
type Chain [16]byte

func (c Chain) String() string { return hex.EncodeToString(c[:]) }

// Pos is a position in a history: equal positions mean equal history. The zero
// Pos is the position before the first record.
type Pos struct {
	Epoch EpochID
	Seq   uint64
	Chain Chain
}

func (p Pos) String() string { return fmt.Sprintf("%d@%s/%s", p.Seq, p.Epoch, p.Chain) }

// PosSize is the length of an encoded Pos in bytes.
const PosSize = 4 + 2 + 8 + 8 + 16

// AppendPos appends the fixed-size, big-endian form of p.
func AppendPos(b []byte, p Pos) []byte {
	b = appendEpochID(b, p.Epoch)
	b = binary.BigEndian.AppendUint64(b, p.Seq)
	return append(b, p.Chain[:]...)
}

// ParsePos reads what AppendPos wrote from the first PosSize bytes of b.
func ParsePos(b []byte) (Pos, error) {
	if len(b) < PosSize {
		return Pos{}, fmt.Errorf("position: %d bytes, want %d", len(b), PosSize)
	}
	var p Pos
	p.Epoch = EpochID{binary.BigEndian.Uint32(b), binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint64(b[6:])}
	p.Seq = binary.BigEndian.Uint64(b[14:])
	copy(p.Chain[:], b[22:])
	return p, nil
}

func appendEpochID(b []byte, e EpochID) []byte {
	b = binary.BigEndian.AppendUint32(b, e.Counter)
	b = binary.BigEndian.AppendUint16(b, e.Member)
	return binary.BigEndian.AppendUint64(b, e.Nonce)
}

// MarshalText and UnmarshalText give the hex form used in JSON and headers.
func (p Pos) MarshalText() ([]byte, error) {
	return []byte(hex.EncodeToString(AppendPos(nil, p))), nil
}

// UnmarshalText reads what MarshalText wrote.
func (p *Pos) UnmarshalText(t []byte) error {
	b, err := hex.DecodeString(string(t))
	if err != nil || len(b) != PosSize {
		return fmt.Errorf("position %.100q: want %d hex digits", t, 2*PosSize)
	}
	*p, err = ParsePos(b)
	return err
}

// Stamp is a hybrid logical clock reading and the member that made it. Time is
// milliseconds since 1970 in the upper 48 bits, a logical counter below.
type Stamp struct {
	Time   uint64
	Origin uint16
}

// Addr locates a stored payload in one machine's journal. It is local: it
// never leaves the machine. Segment 0 is no segment, so the zero Addr is absent.
type Addr struct {
	Segment uint64
	Offset  uint64 // bytes from the start of the segment file
	Length  uint32 // plain length of the whole stored payload, bytes
}

// IsZero reports whether a names no payload.
func (a Addr) IsZero() bool { return a.Segment == 0 }
