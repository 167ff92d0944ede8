package nfs

import (
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

const (
	// maxIO is the most that one READ or WRITE moves, bytes: what a record of
	// the journal can hold.
	maxIO = fs.MaxWrite
	// maxRequest is a WRITE of maxIO and room for the RPC header and the rest
	// of its COMPOUND, bytes.
	maxRequest = maxIO + 16<<10
	// maxTag bounds a COMPOUND's tag, which is echoed, bytes. Linux sends none.
	maxTag = 256
	// readDirBatch bounds the entries that are taken from a directory at once.
	readDirBatch = 1024
	// maxReadDir bounds a READDIR reply, bytes. Linux asks for 1 MiB at most;
	// a quarter of that keeps one request from taking long.
	maxReadDir = 256 << 10
	// mutationReply is room for the longest result of an operation that
	// changes something, bytes: it must be there before the change is made.
	mutationReply = 192
	// dirSize is the size attribute of the pseudo root, bytes.
	dirSize = 4096

	defaultLease = 90 * time.Second
	defaultGrace = 90 * time.Second
	// tickEvery is how often leases, graces and new file systems are looked at.
	tickEvery = time.Second
	// recordTimeout bounds the wait for reclaim records that are removed in
	// the background.
	recordTimeout = 30 * time.Second
)

// foreLimits are what a session may ask for at most.
var foreLimits = xdr.ChannelAttrs{
	MaxRequest:        maxRequest,
	MaxResponse:       maxRequest,
	MaxResponseCached: state.MaxCachedReply,
	MaxOps:            state.MaxOps,
	MaxRequests:       state.MaxSlots,
}
