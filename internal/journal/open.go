package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// Create makes an empty journal in a new directory, or in one without a
// journal. It is durable when nil is returned; after a crash in between,
// Create can be called again.
func Create(o Options) error {
	o = o.withDefaults()
	if err := o.FS.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("create journal: %w", err)
	}
	names, err := o.FS.List(o.Dir)
	if err != nil {
		return fmt.Errorf("create journal: %w", err)
	}
	for _, name := range names {
		if _, _, ok := parseSegmentName(name); ok {
			return fmt.Errorf("create journal: %s already holds %s: %w", o.Dir, name, fs.ErrExist)
		}
	}
	var salt [8]byte
	if _, err := io.ReadFull(o.Random, salt[:]); err != nil {
		return fmt.Errorf("create journal: %w", err)
	}
	sealing, err := o.newSealing()
	if err != nil {
		return fmt.Errorf("create journal: %w", err)
	}
	h := segmentHeader{class: classRecord, id: 1, lineage: o.Lineage, salt: binary.BigEndian.Uint64(salt[:]), generation: 1, baseSegment: 1}
	sealing.putInto(&h)
	if err := createFirst(o, &h, sealing.with); err != nil {
		return fmt.Errorf("create journal: %w", err)
	}
	return disk.SyncDir(o.FS, o.FS.PathDir(o.Dir))
}

func createFirst(o Options, h *segmentHeader, with *sealer) error {
	path := o.FS.PathJoin(o.Dir, segmentName(h.id, classRecord))
	f, err := o.FS.OpenReadWrite(path+tempSuffix, disk.Category)
	if err != nil {
		return err
	}
	err = zeroFill(f, o.RecordSegmentBytes)
	if err == nil {
		err = writeBase(f, h, nil, with)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = firstError(err, f.Close()); err != nil {
		return err
	}
	if err := o.FS.Rename(path+tempSuffix, path); err != nil {
		return err
	}
	return disk.SyncDir(o.FS, o.Dir)
}

// writeBase writes header and BASE of a generation's first segment.
func writeBase(f disk.File, h *segmentHeader, meta []byte, with *sealer) error {
	if _, err := f.WriteAt(h.encode(), 0); err != nil {
		return err
	}
	b := baseBatch(h, meta, with)
	return b.writeTo(f)
}

func (b *batch) writeTo(f disk.File) error {
	b.file = &segmentFile{File: f}
	return b.write(0)
}

func baseBatch(h *segmentHeader, meta []byte, with *sealer) *batch {
	b := &batch{file: &segmentFile{sealing: sealing{with: with}}, offset: headerSize, buf: make([]byte, batchHeaderSize)}
	b.h = batchHeader{place: place{h.salt, h.id, h.generation}, kind: kindBase, firstSeq: h.base.Seq + 1, count: 1}
	b.add(kindBase, payloadNone, fs.Addr{}, encodeBase(h.base, meta), 0)
	b.h.bodyLen = uint32(len(b.buf) - batchHeaderSize)
	b.buf = append(b.buf, make([]byte, b.h.size()-int64(len(b.buf)))...)
	return b
}

// segmentInfo is what Open learns about a segment file.
type segmentInfo struct {
	id    uint64
	class class
	path  string
	size  int64
	h     segmentHeader
	state headerState
	bad   string // why the header is not valid
	with  *sealer
}

// Open reads the headers of a journal's segments and finds the base of its
// newest generation. It takes the directory's lock. Recover is next.
func Open(o Options) (*Journal, error) {
	o = o.withDefaults()
	lock, err := disk.Lock(o.FS, o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j, err := open(o)
	if err == nil {
		err = j.settleBase()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open journal: %w", err), lock.Close())
	}
	j.lock = lock
	return j, nil
}

// open finds the history and changes nothing.
func open(o Options) (*Journal, error) {
	infos, err := readHeaders(o.FS, o.Dir, o.Lineage, o.Key)
	if err != nil {
		return nil, err
	}
	g, err := findGeneration(o.FS, infos)
	if err != nil {
		return nil, err
	}
	trim, err := readTrim(o.FS, o.Dir, g.h.salt)
	if err != nil {
		return nil, err
	}
	if err := trim.applyTo(g, o.FS.PathJoin(o.Dir, trimName)); err != nil {
		return nil, err
	}
	j := &Journal{o: o, log: o.Logger, files: newFiles(o.FS, o.Dir, o.Key), salt: g.h.salt, lineage: g.h.lineage,
		generation: g.h.generation, topGen: g.top, baseSegment: g.h.baseSegment, base: g.h.base, baseMeta: g.meta,
		segs: g.segs, dirty: map[uint64]*segmentFile{},
		wake: make(chan struct{}, 1), notify: make(chan struct{}), quit: make(chan struct{})}
	j.cond = sync.NewCond(&j.mu)
	j.timer = time.NewTimer(time.Hour)
	j.timer.Stop()
	j.nextID = trim.nextID
	if err := j.files.findMaps(g.h.salt, &j.nextID); err != nil {
		return nil, err
	}
	for _, s := range infos {
		j.files.add(s.id, s.class, nil, sealing{})
		j.files.bytes.Add(s.size)
		j.files.countShort(s.class, s.size, 1)
		j.nextID = max(j.nextID, s.id+1)
	}
	return j, nil
}

// settleBase writes the BASE again and syncs it when it is all there is of its
// generation: after a kill it may be in the page cache only, and the caller
// acts upon it.
func (j *Journal) settleBase() error {
	if len(j.segs) != 1 || j.segs[0].id != j.baseSegment {
		return nil
	}
	f, err := j.files.acquire(j.baseSegment)
	if err != nil {
		return err
	}
	defer j.files.release(f)
	h := j.recordHeader(f, j.generation, j.baseSegment, j.base, j.base)
	if err := writeBase(f, h, j.baseMeta, f.sealing.with); err != nil {
		return err
	}
	return f.SyncData()
}

// readHeaders reads the first block of every segment, in order of ids.
func readHeaders(dfs disk.FS, dir string, lineage fs.Lineage, key *seal.Key) ([]segmentInfo, error) {
	names, err := dfs.List(dir)
	if err != nil {
		return nil, err
	}
	var infos []segmentInfo
	for _, name := range names {
		id, c, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		s := segmentInfo{id: id, class: c, path: dfs.PathJoin(dir, name)}
		if err := s.read(dfs, key); err != nil {
			return nil, err
		}
		if s.state == headerValid && lineage != (fs.Lineage{}) && s.h.lineage != lineage {
			return nil, fmt.Errorf("%s is of lineage %s, want %s", s.path, s.h.lineage, lineage)
		}
		infos = append(infos, s)
	}
	slices.SortFunc(infos, func(a, b segmentInfo) int { return int(min(max(int64(a.id-b.id), -1), 1)) })
	for i := 1; i < len(infos); i++ {
		if infos[i].id == infos[i-1].id {
			return nil, &fs.CorruptionError{File: infos[i].path, Detail: "two segments have this id"}
		}
	}
	return infos, checkSalt(infos)
}

func (s *segmentInfo) read(dfs disk.FS, key *seal.Key) error {
	f, err := dfs.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	s.size = st.Size()
	b, err := readHeaderBlock(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.path, err)
	}
	s.h, s.state, err = decodeHeader(b)
	if err == nil && s.state == headerValid {
		s.with, err = sealerOf(&s.h, key)
	}
	var unsupported *unsupportedError
	if errors.As(err, &unsupported) {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	if err == nil && s.state == headerValid && (s.h.id != s.id || s.h.class != s.class) {
		s.state, err = headerBad, fmt.Errorf("segment header: of segment %d, class %d", s.h.id, s.h.class)
	}
	if err != nil {
		s.bad = err.Error()
	}
	return nil
}

func checkSalt(infos []segmentInfo) error {
	var first *segmentInfo
	for i := range infos {
		s := &infos[i]
		if s.state != headerValid {
			continue
		}
		if first == nil {
			first = s
		}
		if s.h.salt != first.h.salt || s.h.lineage != first.h.lineage {
			return &fs.CorruptionError{File: s.path, Detail: "segment of another journal than " + first.path}
		}
	}
	return nil
}

// removeTemps removes what a Create that was cut short left behind.
func (j *Journal) removeTemps() {
	names, err := j.o.FS.List(j.o.Dir)
	if err != nil {
		return
	}
	for _, name := range names {
		if strings.HasSuffix(name, tempSuffix) {
			j.discard(j.files.path(name))
		}
	}
}
