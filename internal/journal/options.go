package journal

import (
	"crypto/rand"
	"io"
	"log/slog"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// Options of a journal. FS and Dir are needed; zero elsewhere means the default.
type Options struct {
	FS      disk.FS
	Dir     string
	Lineage fs.Lineage // Open refuses a journal of another one, unless zero

	// RecordSegmentBytes is the size of a record segment, 16 KiB at least.
	// Default 8 MiB: filled with zeros in some 10 ms.
	RecordSegmentBytes int64
	// PayloadSegmentBytes is the size of a payload segment. Default 256 MiB.
	// On a disk that is nearly full segments become smaller.
	PayloadSegmentBytes int64
	// InlineMax is the largest payload, in bytes, that goes beside its record.
	// Default 32 KiB, also the most.
	InlineMax int
	// MaxUndurableBytes bounds what is appended and not synced: Append waits
	// below it. Default 64 MiB.
	MaxUndurableBytes int64
	// SyncInterval is the longest that something stays undurable without
	// anybody waiting for it. Default 1 s.
	SyncInterval time.Duration
	Logger       *slog.Logger
	// Key encrypts the journal; nil: it is not encrypted. Open refuses a journal
	// that is of another key, or of none. It stays the caller's.
	Key *seal.Key
	// Random gives the salts of a new journal and of the segments of an encrypted
	// one. Default crypto/rand.
	Random io.Reader
}

const (
	minRecordSegment  = 4 * blockSize // header, BASE, its mark, and one batch
	minPayloadSegment = 4 << 20       // below this a full disk is called full
	defaultRecordSeg  = 8 << 20
	defaultPayloadSeg = 256 << 20
	maxInline         = 32 << 10
	defaultUndurable  = 64 << 20
	defaultInterval   = time.Second
)

func (o Options) withDefaults() Options {
	if o.RecordSegmentBytes <= 0 {
		o.RecordSegmentBytes = defaultRecordSeg
	}
	o.RecordSegmentBytes = max(align(o.RecordSegmentBytes), minRecordSegment)
	if o.PayloadSegmentBytes <= 0 {
		o.PayloadSegmentBytes = defaultPayloadSeg
	}
	if o.InlineMax <= 0 || o.InlineMax > maxInline {
		o.InlineMax = maxInline
	}
	if o.MaxUndurableBytes <= 0 {
		o.MaxUndurableBytes = defaultUndurable
	}
	if o.SyncInterval <= 0 {
		o.SyncInterval = defaultInterval
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	return o
}
