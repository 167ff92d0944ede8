package journal

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// maxOpenSegments bounds the open files of one journal that nobody uses just
// now: a host with a thousand file systems has a thousand times that.
const maxOpenSegments = 64

// files knows all segment files of a journal and keeps some of them open.
type files struct {
	fs       disk.FS
	dir      string
	readOnly bool

	salt uint64    // of the journal; for maps
	key  *seal.Key // nil: not encrypted

	mu    sync.Mutex
	class map[uint64]class // of every segment there is
	// maps of segments that the cleaner emptied; nil: not read yet.
	maps  map[uint64]*segmentMap
	open  map[uint64]*segmentFile
	clock uint64
	ended bool         // closeAll was called
	bytes atomic.Int64 // disk space of all segments
	short atomic.Int64 // record segments below ShortSegment
}

// segmentFile is an open segment, counted: acquire and release.
type segmentFile struct {
	disk.File
	id   uint64
	name string
	// sealing of a spare is set before it is written to, and stays.
	sealing sealing
	refs    int    // guarded by files.mu
	used    uint64 // files.clock of the last acquire
}

func newFiles(fs disk.FS, dir string, key *seal.Key) *files {
	return &files{fs: fs, dir: dir, key: key, class: map[uint64]class{}, maps: map[uint64]*segmentMap{}, open: map[uint64]*segmentFile{}}
}

func (s *files) path(name string) string { return s.fs.PathJoin(s.dir, name) }

// classOf tells the class of a segment, and whether there is one.
func (s *files) classOf(id uint64) (class, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.class[id]
	return c, ok
}

// add makes a segment known. f, if not nil, is open for writing and gets one
// reference, the caller's.
func (s *files) add(id uint64, c class, f disk.File, how sealing) *segmentFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.class[id] = c
	if f == nil {
		return nil
	}
	sf := &segmentFile{File: f, id: id, name: segmentName(id, c), sealing: how, refs: 1}
	s.open[id] = sf
	return sf
}

// acquire opens a segment. Its header has been checked, so a payload that it
// returns was written under a format that we know.
func (s *files) acquire(id uint64) (*segmentFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sf := s.open[id]; sf != nil {
		sf.refs++
		s.clock++
		sf.used = s.clock
		return sf, nil
	}
	if s.ended {
		return nil, ErrClosed
	}
	c, ok := s.class[id]
	if !ok {
		return nil, &goneError{fs.CorruptionError{File: s.path(segmentName(id, classPayload)), Detail: "a payload is in a segment that does not exist"}}
	}
	// Under the lock: two opens of one file would be two handles to sync.
	sf, err := s.openFile(id, c)
	if err != nil {
		return nil, err
	}
	s.evict()
	s.clock++
	sf.refs, sf.used = 1, s.clock
	s.open[id] = sf
	return sf, nil
}

func (s *files) openFile(id uint64, c class) (*segmentFile, error) {
	name := segmentName(id, c)
	f, err := s.openMode(name)
	if err != nil {
		return nil, fmt.Errorf("open segment %s: %w", s.path(name), err)
	}
	how, err := s.checkOpened(f, id, c)
	if err != nil {
		f.Close()
		var unsupported *unsupportedError
		if errors.As(err, &unsupported) {
			return nil, fmt.Errorf("segment %s: %w", s.path(name), err)
		}
		return nil, &fs.CorruptionError{File: s.path(name), Detail: err.Error()}
	}
	return &segmentFile{File: f, id: id, name: name, sealing: how}, nil
}

func (s *files) openMode(name string) (disk.File, error) {
	if s.readOnly {
		return s.fs.Open(s.path(name))
	}
	return s.fs.OpenReadWrite(s.path(name), disk.Category)
}

func (s *files) checkOpened(f disk.File, id uint64, c class) (how sealing, err error) {
	b, err := readHeaderBlock(f)
	if err != nil {
		return how, err
	}
	h, state, err := decodeHeader(b)
	switch {
	case err != nil:
		return how, err
	case state == headerBlank:
		// A fresh segment whose header is still on its way, or a spare. In an
		// encrypted journal nothing in it opens: with its header wiped, a segment
		// must not pass for one that is not encrypted.
		if c == classRecord && s.key != nil {
			return sealingOf(&segmentHeader{key: s.key.ID()}, s.key)
		}
		if c == classRecord {
			return how, nil
		}
		return how, fmt.Errorf("segment header: missing")
	case h.id != id || h.class != c:
		return how, fmt.Errorf("segment header: of segment %d, class %d", h.id, h.class)
	}
	return sealingOf(&h, s.key)
}

// readHeaderBlock reads up to headerSize bytes from the start of f.
func readHeaderBlock(f io.ReaderAt) ([]byte, error) {
	b := make([]byte, headerSize)
	n, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return b[:n], err
}

func (s *files) release(sf *segmentFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sf.refs--
	if sf.refs == 0 && s.open[sf.id] != sf {
		sf.Close()
	}
}

// evict closes the segment that was not used for longest, when many are open.
func (s *files) evict() {
	if len(s.open) < maxOpenSegments {
		return
	}
	var oldest *segmentFile
	for _, sf := range s.open {
		if sf.refs == 0 && (oldest == nil || sf.used < oldest.used) {
			oldest = sf
		}
	}
	if oldest != nil {
		delete(s.open, oldest.id)
		oldest.Close()
	}
}

// remove unlinks a segment. The caller syncs the directory.
func (s *files) remove(id uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.class[id]
	if !ok {
		return nil
	}
	if sf := s.open[id]; sf != nil {
		delete(s.open, id)
		if sf.refs == 0 {
			sf.Close()
		}
	}
	path := s.path(segmentName(id, c))
	if st, err := s.fs.Stat(path); err == nil {
		s.bytes.Add(-st.Size())
		s.countShort(c, st.Size(), -1)
	}
	if err := s.fs.Remove(path); err != nil {
		return fmt.Errorf("remove segment: %w", err)
	}
	delete(s.class, id)
	return nil
}

func (s *files) countShort(c class, size, n int64) {
	if c == classRecord && size < ShortSegment {
		s.short.Add(n)
	}
}

// closeAll closes what nobody uses any more; the rest closes when released.
func (s *files) closeAll() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	var first error
	for id, sf := range s.open {
		delete(s.open, id)
		if sf.refs > 0 {
			continue
		}
		if err := sf.Close(); first == nil {
			first = err
		}
	}
	return first
}
