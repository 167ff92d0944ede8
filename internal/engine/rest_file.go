package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// The form of the rest file is frozen: docs/formats/rest.md.

const (
	restName   = "rest.json"
	restFormat = 1
)

// restFile is what the rest file tells.
type restFile struct {
	Resting
	settings      []restSetting // all of the file system, in the order of keys
	journal, tree string        // the directories that were in use
}

type restSetting struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// restFrame is the file: the sum is CRC32C over the bytes of Rest.
type restFrame struct {
	Format int             `json:"format"`
	Sum    string          `json:"crc32c"`
	Rest   json.RawMessage `json:"rest"`
}

type restBody struct {
	FileSystem string   `json:"file_system"`
	Lineage    string   `json:"lineage"`
	Position   fs.Pos   `json:"position"`
	Files      uint64   `json:"files"`
	BytesUsed  uint64   `json:"bytes_used"`
	Journal    string   `json:"journal"`
	JournalLen int64    `json:"journal_bytes"`
	Tree       string   `json:"tree"`
	Witness    string   `json:"witness"`
	Root       restRoot `json:"root"`

	Settings []restSetting `json:"settings"`
}

// restRoot are the attributes of the root directory. Times are seconds and
// nanoseconds.
type restRoot struct {
	Mode   uint32   `json:"mode"`
	Nlink  uint32   `json:"nlink"`
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Size   uint64   `json:"size"`
	Change uint64   `json:"change"`
	Atime  restTime `json:"atime"`
	Mtime  restTime `json:"mtime"`
	Ctime  restTime `json:"ctime"`
	Btime  restTime `json:"btime"`
}

type restTime [2]int64

func restTimeOf(t fs.Time) restTime { return restTime{t.Sec, int64(t.Nsec)} }

func (t restTime) time() fs.Time { return fs.Time{Sec: t[0], Nsec: uint32(t[1])} }

func (r *restRoot) attr() fs.Attr {
	return fs.Attr{Ino: fs.RootIno, Parent: fs.RootIno, Type: fs.TypeDir, Mode: r.Mode, Nlink: r.Nlink, UID: r.UID, GID: r.GID, Size: r.Size,
		Change: r.Change, Atime: r.Atime.time(), Mtime: r.Mtime.time(), Ctime: r.Ctime.time(), Btime: r.Btime.time()}
}

func restRootOf(a *fs.Attr) restRoot {
	return restRoot{Mode: a.Mode, Nlink: a.Nlink, UID: a.UID, GID: a.GID, Size: a.Size, Change: a.Change,
		Atime: restTimeOf(a.Atime), Mtime: restTimeOf(a.Mtime), Ctime: restTimeOf(a.Ctime), Btime: restTimeOf(a.Btime)}
}

func (r *restFile) encode(o *Options, witness string) ([]byte, error) {
	body, err := json.Marshal(restBody{FileSystem: o.ID, Lineage: r.Lineage.String(), Position: r.Pos, Files: r.Files, BytesUsed: r.BytesUsed,
		Journal: r.journal, JournalLen: r.JournalBytes, Tree: r.tree, Witness: witness, Root: restRootOf(&r.Root), Settings: r.settings})
	if err != nil {
		return nil, err
	}
	return json.Marshal(restFrame{restFormat, restSum(body), body})
}

func restSum(body []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

// decodeRest reads a rest file and its witness.
func decodeRest(b []byte, id string) (r *restFile, witness string, err error) {
	var f restFrame
	var body restBody
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, "", err
	}
	if f.Format != restFormat {
		return nil, "", fmt.Errorf("it has format %d; this release knows %d", f.Format, restFormat)
	}
	if f.Sum != restSum(f.Rest) {
		return nil, "", errors.New("it does not match its checksum")
	}
	if err := json.Unmarshal(f.Rest, &body); err != nil {
		return nil, "", err
	}
	if body.FileSystem != id || !strings.HasPrefix(body.Journal, journalPrefix) || !strings.HasPrefix(body.Tree, treePrefix) ||
		strings.ContainsAny(body.Journal+body.Tree, `/\`) {
		return nil, "", errors.New("it is not of this file system")
	}
	r = &restFile{Resting: Resting{Pos: body.Position, Files: body.Files, BytesUsed: body.BytesUsed, JournalBytes: body.JournalLen,
		Root: body.Root.attr()}, settings: body.Settings, journal: body.Journal, tree: body.Tree}
	r.Lineage, err = fs.ParseLineage(body.Lineage)
	return r, body.Witness, err
}

// witness names the files of journal and tree. Whoever opens a tree gives it
// files of other names, so a rest file that an older release has left in place
// is found out, and so are directories that were put back from a copy.
func (r *restFile) witness(o *Options) (string, error) {
	h := sha256.New()
	for _, dir := range []string{r.journal, r.tree} {
		names, err := o.plain().List(filepath.Join(o.Dir, dir))
		if err != nil {
			return "", err
		}
		slices.Sort(names)
		fmt.Fprintf(h, "%s\x00%d\x00", dir, len(names))
		for _, n := range names {
			fmt.Fprintf(h, "%s\x00", n)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// segmentBytes is the size of the segments of a closed journal.
func segmentBytes(o *Options, journal string) (sum int64, err error) {
	names, err := o.plain().List(filepath.Join(o.Dir, journal))
	if err != nil {
		return 0, err
	}
	for _, n := range names {
		if ext := filepath.Ext(n); ext != ".rec" && ext != ".pay" {
			continue
		}
		st, err := o.plain().Stat(filepath.Join(o.Dir, journal, n))
		if err != nil {
			return 0, err
		}
		sum += st.Size()
	}
	return sum, nil
}

func (o *Options) restPath() string { return filepath.Join(o.Dir, restName) }

// writeRest is the last act of going to rest.
func writeRest(o *Options, r *restFile) error {
	witness, err := r.witness(o)
	if err == nil {
		r.JournalBytes, err = segmentBytes(o, r.journal) // what was reserved is given back now
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", restName, err)
	}
	b, err := r.encode(o, witness)
	if err != nil {
		return fmt.Errorf("write %s: %w", restName, err)
	}
	return disk.WriteFileAtomic(o.FS, o.restPath(), b)
}

// readRest gives nil when there is no rest file, or none that holds.
func readRest(o *Options) *restFile {
	err := o.unlock()
	var b []byte
	if err == nil {
		b, err = disk.ReadFile(o.FS, o.restPath())
	}
	if isNotExist(err) {
		return nil
	}
	var r *restFile
	if err == nil {
		r, err = checkRest(o, b)
	}
	if err != nil {
		o.Logger.Warn("what a file system says of itself at rest cannot be used; it is opened to find out", "file_system", o.ID, "error", err)
		return nil
	}
	return r
}

var errStaleRest = errors.New("it is of another state of journal and tree")

func checkRest(o *Options, b []byte) (*restFile, error) {
	r, was, err := decodeRest(b, o.ID)
	if err != nil {
		return nil, err
	}
	c, err := readCurrent(o)
	if err != nil {
		return nil, err
	}
	if c == nil || c.Journal != r.journal || c.Lineage != r.Lineage {
		return nil, errStaleRest
	}
	is, err := r.witness(o)
	if err == nil && is != was {
		err = errStaleRest
	}
	return r, err
}

// ReadResting tells of a file system at rest that nobody has open; nil when it
// is not at rest, or does not say so in a way that this release knows: then it
// is opened to find out.
func ReadResting(o Options) *Resting {
	r := readRest(&o)
	if r == nil {
		return nil
	}
	return &r.Resting
}

// RestingSettings calls fn for the settings whose keys begin with prefix of a
// file system that rests at a position, in the order of keys. false: it does not
// rest there any more, and fn was not called. An engine may be opened meanwhile.
func RestingSettings(o Options, at fs.Pos, prefix string, fn func(key string, value []byte) error) (bool, error) {
	if err := o.unlock(); err != nil {
		return false, err
	}
	b, err := disk.ReadFile(o.FS, o.restPath())
	if err != nil {
		return false, nil
	}
	r, _, err := decodeRest(b, o.ID)
	if err != nil || r.Pos != at {
		return false, nil
	}
	for _, s := range r.settings {
		if !strings.HasPrefix(s.Key, prefix) {
			continue
		}
		if err := fn(s.Key, s.Value); err != nil {
			return true, err
		}
	}
	return true, nil
}
