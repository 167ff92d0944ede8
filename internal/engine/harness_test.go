package engine

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/fstest"
)

var ctx = context.Background()

// root is the superuser.
var root = fs.Cred{}

// start is when every test begins.
var start = time.Unix(1_700_000_000, 0)

func newClock() *fstest.Clock { return fstest.NewClock(start) }

// seeded is a reader of random bytes that a seed fixes.
func seeded(seed uint64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

const (
	testRecordSegment  = 64 << 10
	testPayloadSegment = 1 << 20
)

// testOptions are those of a small engine in /fs of a disk.
func testOptions(d disk.FS, c *fstest.Clock, id string, seed uint64) Options {
	return Options{Keys: testKeys{}, KMSKey: os.Getenv(encryptedRun), FS: d, Dir: "/" + id, ID: id, Region: "here", Now: c.Now, Rand: seeded(seed),
		Logger: slog.New(slog.DiscardHandler), RecordSegmentBytes: testRecordSegment, PayloadSegmentBytes: testPayloadSegment,
		// Cleaning is called for, and then leaves nothing that it could take.
		Clean: CleanOptions{Off: true, HistoryAge: time.Nanosecond, HistoryBytes: 1, PeerBytes: 1 << 40, SlackBytes: 1}}
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mode(m uint32) fs.AttrChange { return fs.AttrChange{Mode: &m} }

// newWriter makes an empty file system and begins to write.
func newWriter(t testing.TB, o Options) *Engine {
	t.Helper()
	e := must[*Engine](t)(Create(ctx, o))
	ok(t, e.BeginWriting(ctx))
	return e
}

// reopen opens what a test closed and begins to write.
func reopen(t testing.TB, o Options) *Engine {
	t.Helper()
	e := must[*Engine](t)(Open(ctx, o))
	ok(t, e.BeginWriting(ctx))
	return e
}

func create(t testing.TB, e *Engine, dir fs.Ino, name string, typ fs.Type) fs.Attr {
	t.Helper()
	res, err := e.Create(ctx, &fs.CreateRequest{Cred: root, Parent: dir, Name: fs.Name(name), Type: typ, Attrs: mode(0o755)})
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	return res.Attr
}

func write(t testing.TB, e *Engine, ino fs.Ino, offset uint64, data []byte) {
	t.Helper()
	res, err := e.Write(ctx, &fs.WriteRequest{Cred: root, Ino: ino, Offset: offset, Data: data})
	if err != nil || res.N != len(data) {
		t.Fatalf("write %d bytes at %d: %d, %v", len(data), offset, res.N, err)
	}
}

func read(t testing.TB, e *Engine, ino fs.Ino, offset uint64, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	n, _, err := e.Read(ctx, ino, offset, p)
	ok(t, err)
	return p[:n]
}
