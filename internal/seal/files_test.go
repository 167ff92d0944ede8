package seal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

func testKey(t testing.TB, b byte) *Key {
	t.Helper()
	k, err := NewKey(bytes.NewReader(bytes.Repeat([]byte{b}, 48)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// fixed gives salts that golden files can hold.
func fixed() io.Reader { return bytes.NewReader(bytes.Repeat([]byte{7}, 1<<10)) }

// names have one file of each layout.
var names = []string{"000001.sst", "OPTIONS-000002", "MANIFEST-000003", "000004.log"}

// put writes plain in pieces, syncing now and then.
func put(t *testing.T, d disk.FS, name string, plain []byte, rng *mrand.Rand) {
	t.Helper()
	f, err := d.Create(name, disk.Category)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(plain); {
		n := min(len(plain)-at, 1+rng.IntN(3*chunkSize))
		if _, err := f.Write(bytes.Clone(plain[at : at+n])); err != nil {
			t.Fatal(err)
		}
		at += n
		if st, err := f.Stat(); err != nil || st.Size() != int64(at) {
			t.Fatalf("%s has %d bytes after %d: %v", name, st.Size(), at, err)
		}
		if rng.IntN(3) == 0 {
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func random(rng *mrand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, name := range names {
		for i, size := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 5 * chunkSize, 1<<20 + 1, 3 << 20} {
			rng := mrand.New(mrand.NewPCG(uint64(i), 1))
			mem := disk.NewMem()
			d := Files(mem, testKey(t, 1), rand.Reader)
			plain := random(rng, size)
			put(t, d, name, plain, rng)
			got, err := disk.ReadFile(d, name)
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%s of %d: %d bytes, %v", name, size, len(got), err)
			}
			if st, err := d.Stat(name); err != nil || st.Size() != int64(size) {
				t.Errorf("%s of %d: size %d, %v", name, size, st.Size(), err)
			}
			if raw, err := disk.ReadFile(mem, name); err != nil || size > 100 && bytes.Contains(raw, plain[:100]) {
				t.Errorf("%s is plain on disk: %v", name, err)
			}
			checkReadAt(t, d, name, plain, rng)
		}
	}
}

func checkReadAt(t *testing.T, d disk.FS, name string, plain []byte, rng *mrand.Rand) {
	t.Helper()
	f, err := d.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 50 {
		off, p := rng.IntN(len(plain)+10), make([]byte, 1+rng.IntN(3*chunkSize))
		n, err := f.ReadAt(p, int64(off))
		want := plain[min(off, len(plain)):min(off+len(p), len(plain))]
		if !bytes.Equal(p[:n], want) || (err == io.EOF) != (n < len(p)) || err != nil && err != io.EOF {
			t.Fatalf("%s, %d at %d of %d: %d bytes, %v", name, len(p), off, len(plain), n, err)
		}
	}
}

// TestEveryChangedByteIsFound: bytes that were changed, and files that were cut,
// are never read as something else. Only a log may end early.
func TestEveryChangedByteIsFound(t *testing.T) {
	rng := mrand.New(mrand.NewPCG(3, 3))
	plain := random(rng, 2*chunkSize+77)
	for _, name := range names {
		mem := disk.NewMem()
		d := Files(mem, testKey(t, 1), rand.Reader)
		put(t, d, name, plain, rng)
		raw, err := disk.ReadFile(mem, name)
		if err != nil {
			t.Fatal(err)
		}
		try := func(what string, b []byte) {
			if err := disk.WriteFileAtomic(mem, name, b); err != nil {
				t.Fatal(err)
			}
			got, err := disk.ReadFile(d, name)
			var damage *fs.CorruptionError
			switch {
			case errors.As(err, &damage) && damage.File == name:
			case err == nil && layoutOf(name) == log && len(got) < len(plain) && bytes.HasPrefix(plain, got):
			default:
				t.Errorf("%s, %s: %d bytes, %v", name, what, len(got), err)
			}
		}
		for at := 0; at < len(raw); at += 1 + rng.IntN(2)*rng.IntN(8) {
			b := bytes.Clone(raw)
			b[at] ^= 1 << rng.IntN(8)
			try(fmt.Sprintf("flip at %d", at), b)
		}
		for n := 1; n < len(raw); n += 1 + rng.IntN(100) {
			if endsFrame(raw, n) {
				continue // indistinguishable from a shorter file: the JSON or the count in it tells
			}
			try(fmt.Sprintf("cut to %d", n), raw[:n])
		}
		if layoutOf(name) != log {
			try("the head alone", raw[:headSize])
			try("zeros behind it", append(bytes.Clone(raw), make([]byte, 100)...))
			try("plain", plain)
		}
	}
}

// endsFrame reports whether a framed file cut to n bytes ends with a whole frame.
func endsFrame(raw []byte, n int) bool {
	if layout(raw[11]) == chunked || n <= headSize {
		return false
	}
	at := headSize
	for at < n {
		at += frameHead + Overhead + int(raw[at])<<24 + int(raw[at+1])<<16 + int(raw[at+2])<<8 + int(raw[at+3])
	}
	return at == n
}

func TestAnotherKeyIsRefused(t *testing.T) {
	rng := mrand.New(mrand.NewPCG(4, 4))
	mem := disk.NewMem()
	for _, name := range names {
		put(t, Files(mem, testKey(t, 1), rand.Reader), name, random(rng, 100), rng)
		var damage *fs.CorruptionError
		if _, err := disk.ReadFile(Files(mem, testKey(t, 2), rand.Reader), name); !errors.As(err, &damage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestALogSurvivesACrash: whatever of its unsynced end a crash keeps, it reads as
// a prefix that holds all that was synced.
func TestALogSurvivesACrash(t *testing.T) {
	for seed := range uint64(300) {
		rng := mrand.New(mrand.NewPCG(seed, 5))
		mem := disk.NewMem()
		d := Files(mem, testKey(t, 1), rand.Reader)
		f, err := d.Create("MANIFEST-1", disk.Category)
		if err != nil {
			t.Fatal(err)
		}
		if err := disk.SyncDir(mem, "/"); err != nil {
			t.Fatal(err)
		}
		var plain []byte
		synced := 0
		for range rng.IntN(12) {
			p := random(rng, 1+rng.IntN(9000))
			plain = append(plain, p...)
			if _, err := f.Write(p); err != nil {
				t.Fatal(err)
			}
			if rng.IntN(3) == 0 {
				if err := f.Sync(); err != nil {
					t.Fatal(err)
				}
				synced = len(plain)
			}
		}
		after := mem.Crash(rng, []int{0, 30, 60, 100}[rng.IntN(4)])
		got, err := disk.ReadFile(Files(after, testKey(t, 1), rand.Reader), "MANIFEST-1")
		if err != nil || len(got) < synced || !bytes.HasPrefix(plain, got) {
			t.Fatalf("seed %d: %d bytes of %d, %d synced, %v", seed, len(got), len(plain), synced, err)
		}
	}
}

func TestWhatFilesRefuse(t *testing.T) {
	mem := disk.NewMem()
	d := Files(mem, testKey(t, 1), rand.Reader)
	put(t, d, "a", []byte("a"), mrand.New(mrand.NewPCG(1, 1)))
	if _, err := d.OpenReadWrite("a", disk.Category); err == nil {
		t.Error("an encrypted file was opened for writing in place")
	}
	if _, err := d.ReuseForWrite("a", "b", disk.Category); err == nil {
		t.Error("an encrypted file was reused")
	}
	f, err := d.Create("c", disk.Category)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 3); err == nil {
		t.Error("WriteAt")
	}
	r, err := d.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Write([]byte("x")); err == nil {
		t.Error("a file that is open for reading was written to")
	}
}

// A failed write ends the use of the file: nobody knows what is on disk.
func TestAFailedWriteIsRemembered(t *testing.T) {
	faulty := disk.NewFaulty(disk.NewMem())
	f, err := Files(faulty, testKey(t, 1), rand.Reader).Create("a", disk.Category)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	faulty.FailNth(disk.OpWrite, 2, io.ErrClosedPipe) // the head is the first
	for range 2 {
		if _, err := f.Write([]byte("abc")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("write: %v", err)
		}
	}
	if err := f.Sync(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("sync: %v", err)
	}
}

func BenchmarkTable(b *testing.B) {
	plain := random(mrand.New(mrand.NewPCG(1, 1)), 4<<20)
	for _, d := range []struct {
		name string
		fs   disk.FS
	}{{"plain", disk.Real()}, {"encrypted", Files(disk.Real(), testKey(b, 1), rand.Reader)}} {
		path := b.TempDir() + "/1.sst"
		write := func(b *testing.B) {
			f, err := d.fs.Create(path, disk.Category)
			if err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, 64<<10)
			for at := 0; at < len(plain); at += len(buf) {
				copy(buf, plain[at:])
				if _, err := f.Write(buf); err != nil {
					b.Fatal(err)
				}
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		}
		b.Run("write/"+d.name, func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				write(b)
			}
		})
		b.Run("read/"+d.name, func(b *testing.B) {
			write(b)
			f, err := d.fs.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			p, rng := make([]byte, chunkSize), mrand.New(mrand.NewPCG(1, 2))
			b.SetBytes(chunkSize)
			for b.Loop() {
				if _, err := f.ReadAt(p, int64(rng.IntN(len(plain)-len(p)))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

var _ vfs.FS = (*sealedFS)(nil)

// TestALayoutIsThatOfTheName: what must be whole does not become a log, which may
// end anywhere, by one byte in its head.
func TestALayoutIsThatOfTheName(t *testing.T) {
	mem := disk.NewMem()
	d := Files(mem, testKey(t, 1), fixed())
	for _, name := range []string{"stage.json", "000001.sst", "MANIFEST-000001", "000002.log"} {
		f, err := d.Create(name, disk.Category)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("text")); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		raw, err := disk.ReadFile(mem, name)
		if err != nil {
			t.Fatal(err)
		}
		is := raw[11]
		for l := byte(1); l <= 3; l++ {
			b := bytes.Clone(raw)
			b[11] = l
			if err := disk.WriteFileAtomic(mem, name, b); err != nil {
				t.Fatal(err)
			}
			got, err := disk.ReadFile(d, name)
			var damage *fs.CorruptionError
			if l == is && (err != nil || string(got) != "text") || l != is && !errors.As(err, &damage) {
				t.Errorf("%s, layout %d with %d in its head: %q, %v", name, is, l, got, err)
			}
		}
	}
}
