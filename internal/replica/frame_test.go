package replica

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

var update = flag.Bool("update", false, "write the golden files anew; only for frames that were never released")

// rawFrame makes a frame as a sender does.
func rawFrame(t frameType, plain []byte) []byte {
	body, flags := plain, byte(0)
	if t.mayCompress() {
		body, flags, _ = compress(newEncoder(), plain, nil)
	}
	return frameOf(t, flags, body)
}

func frameOf(t frameType, flags byte, body []byte) []byte {
	var h [frameHeaderSize]byte
	putFrameHeader(&h, t, flags, body)
	return append(h[:], body...)
}

func readFrame(b []byte) (frameType, []byte, error) {
	f := frameReader{r: bytes.NewReader(b), dec: sharedDecoder()}
	return f.next(nil)
}

func sampleRecords(t *testing.T) ([]Incoming, []byte) {
	t.Helper()
	f := newFake(testLineage, 1)
	f.put(2, []byte("hello"))
	f.put(3, bytes.Repeat([]byte("compressible "), 40))
	var b recordBatch
	b.reset()
	var recs []Incoming
	for _, fr := range f.log {
		if err := b.add(fr.r, fr.payload); err != nil {
			t.Fatal(err)
		}
		recs = append(recs, Incoming{fr.r, fr.payload})
	}
	return recs, b.body()
}

func sampleItems(t *testing.T) ([]Item, []byte) {
	t.Helper()
	items := []Item{
		{Cursor: []byte{1}, Body: []byte("body"), Payload: []byte("payload")},
		{Cursor: []byte{2}, Body: []byte{}, Payload: nil},
		{Cursor: []byte{3}, Body: []byte("x"), Payload: []byte{}},
	}
	var b itemBatch
	b.reset()
	for _, it := range items {
		if err := b.add(it); err != nil {
			t.Fatal(err)
		}
	}
	return items, b.body()
}

func sampleHeartbeat() heartbeat {
	return heartbeat{
		Durable: fs.Pos{Epoch: fs.EpochID{Counter: 7, Member: 2, Nonce: 0xabcdef}, Seq: 123456, Chain: fs.Chain{15: 9}},
		Time:    time.Unix(1790000000, 123456789), Bytes: 1 << 40,
	}
}

// The bytes of each frame are frozen: replicas of different releases meet.
func TestFramesKeepTheirBytes(t *testing.T) {
	_, records := sampleRecords(t)
	_, items := sampleItems(t)
	frames := map[string][]byte{
		"records":   frameOf(frameRecords, 0, records),
		"heartbeat": rawFrame(frameHeartbeat, appendHeartbeat(nil, sampleHeartbeat())),
		"items":     rawFrame(frameItems, items),
		"end":       rawFrame(frameEnd, appendNotice(nil, notice{endComplete, "all was sent"})),
		"error":     rawFrame(frameError, appendNotice(nil, notice{codeInternal, "corruption in segment 5"})),
	}
	for name, got := range frames {
		file := filepath.Join("testdata", name+".hex")
		if *update {
			if err := os.WriteFile(file, []byte(hex.Dump(got)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), hex.Dump(got)); diff != "" {
			t.Errorf("%s frame changed:\n%s", name, diff)
		}
	}
}

// A compressed frame of the first release stays readable; what the encoder
// makes of the same records may change.
func TestCompressedFrameOfTheFirstReleaseIsRead(t *testing.T) {
	_, records := sampleRecords(t)
	file := filepath.Join("testdata", "records-zstd.txt")
	if *update {
		if err := os.WriteFile(file, []byte(hex.EncodeToString(rawFrame(frameRecords, records))+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if raw[1] != frameFlagZstd || len(raw) >= len(records) {
		t.Fatalf("flags %#x, %d bytes of %d: not compressed", raw[1], len(raw), len(records))
	}
	typ, body, err := readFrame(raw)
	if err != nil || typ != frameRecords || !bytes.Equal(body, records) {
		t.Errorf("type %d, %d bytes, %v", typ, len(body), err)
	}
}

func TestBodiesSurviveTheWire(t *testing.T) {
	wantRecs, b := sampleRecords(t)
	recs, err := parseRecords(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range wantRecs { // an absent payload is empty
		wantRecs[i].Payload = append([]byte{}, wantRecs[i].Payload...)
	}
	if diff := cmp.Diff(wantRecs, recs); diff != "" {
		t.Errorf("records:\n%s", diff)
	}
	wantItems, b := sampleItems(t)
	items, err := parseItems(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantItems, items); diff != "" {
		t.Errorf("items (nil and empty payloads are different things):\n%s", diff)
	}
	h, err := parseHeartbeat(appendHeartbeat(nil, sampleHeartbeat()))
	if err != nil || !h.Time.Equal(sampleHeartbeat().Time) || h.Durable != sampleHeartbeat().Durable || h.Bytes != 1<<40 {
		t.Errorf("heartbeat %+v, %v", h, err)
	}
}

// Records outlive the buffer that they came in; payloads do not need to.
func TestRecordsDoNotAliasTheBuffer(t *testing.T) {
	want, b := sampleRecords(t)
	b = bytes.Clone(b)
	recs, err := parseRecords(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] = 0xff
	}
	for i := range recs {
		if !bytes.Equal(recs[i].Record.Mutation, want[i].Record.Mutation) {
			t.Errorf("record %d changed with the buffer", recs[i].Record.Seq)
		}
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	_, records := sampleRecords(t)
	_, items := sampleItems(t)
	for _, raw := range [][]byte{
		rawFrame(frameRecords, records),
		rawFrame(frameItems, items),
		rawFrame(frameHeartbeat, appendHeartbeat(nil, sampleHeartbeat())),
	} {
		for bit := range len(raw) * 8 {
			bad := bytes.Clone(raw)
			bad[bit/8] ^= 1 << (bit % 8)
			if _, _, err := readFrame(bad); err == nil {
				t.Fatalf("bit %d of a frame of type %d was flipped unnoticed", bit, raw[0])
			}
		}
		for n := range raw {
			if _, _, err := readFrame(raw[:n]); err == nil {
				t.Fatalf("a frame of type %d cut to %d bytes was taken", raw[0], n)
			}
		}
	}
}

// countingReader tells how far a decoder dared to go.
type countingReader struct{ n int }

func (c *countingReader) Read(b []byte) (int, error) {
	c.n += len(b)
	return len(b), nil
}

func TestHostileLengthsAreRefusedBeforeAnythingIsRead(t *testing.T) {
	head := func(typ frameType, flags byte, n uint32) []byte {
		h := []byte{byte(typ), flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		binary.BigEndian.PutUint32(h[4:], n)
		return h
	}
	for name, h := range map[string][]byte{
		"4 GiB of records":       head(frameRecords, 0, 1<<32-1),
		"a little too much":      head(frameRecords, 0, maxRecordsBody+1),
		"4 GiB, compressed":      head(frameRecords, frameFlagZstd, 1<<32-1),
		"items":                  head(frameItems, 0, maxItemsBody+1),
		"heartbeat":              head(frameHeartbeat, 0, heartbeatSize+1),
		"notice":                 head(frameEnd, 0, maxNoticeBody+1),
		"unknown type":           head(77, 0, 1),
		"unknown flag":           head(frameRecords, 2, 1),
		"compressed heartbeat":   head(frameHeartbeat, frameFlagZstd, 10),
		"compressed, no length":  head(frameRecords, frameFlagZstd, 3),
		"reserved bytes not 0":   append(append([]byte{1, 0}, 1, 0), make([]byte, 8)...),
		"compressed error frame": head(frameError, frameFlagZstd, 100),
	} {
		rest := &countingReader{}
		f := frameReader{r: io.MultiReader(bytes.NewReader(h), rest), dec: sharedDecoder()}
		_, buf, err := f.next(nil)
		var bad *fs.DecodeError
		if !errors.As(err, &bad) || rest.n != 0 || buf != nil {
			t.Errorf("%s: error %v after %d more bytes, buffer of %d", name, err, rest.n, len(buf))
		}
	}
}

func TestCompressedBodyMustKeepItsPromise(t *testing.T) {
	enc := newEncoder()
	zeros := make([]byte, 1<<20)
	pack := func(promise int, plain []byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(promise))
		return frameOf(frameRecords, frameFlagZstd, enc.EncodeAll(plain, b))
	}
	for name, raw := range map[string][]byte{
		"larger than promised":  pack(100, zeros),
		"smaller than promised": pack(len(zeros)+1, zeros),
		"promise over limit":    pack(maxRecordsBody+1, zeros),
		"promise of 4 GiB":      pack(1<<32-1, zeros),
		"nothing promised":      pack(0, zeros),
		"no zstd":               frameOf(frameRecords, frameFlagZstd, []byte{0, 0, 0, 9, 1, 2, 3}),
	} {
		_, buf, err := readFrame(raw)
		if err == nil || cap(buf) > maxRecordsBody {
			t.Errorf("%s: error %v, buffer of %d", name, err, cap(buf))
		}
	}
	if _, b, err := readFrame(pack(len(zeros), zeros)); err != nil || !bytes.Equal(b, zeros) {
		t.Errorf("the honest one: %v", err)
	}
}

func TestMalformedBodies(t *testing.T) {
	_, records := sampleRecords(t)
	_, items := sampleItems(t)
	count := func(b []byte, n uint32) []byte {
		b = bytes.Clone(b)
		binary.BigEndian.PutUint32(b, n)
		return b
	}
	for name, b := range map[string][]byte{
		"empty": nil, "none": count(records, 0), "more than there are": count(records, 4), "fewer": count(records, 2),
		"very many": count(records, 1<<31), "cut": records[:len(records)-1], "longer": append(bytes.Clone(records), 0),
	} {
		if _, err := parseRecords(b, nil); err == nil {
			t.Errorf("records, %s: taken", name)
		}
	}
	for name, b := range map[string][]byte{
		"empty": nil, "none": count(items, 0), "more than there are": count(items, 4), "fewer": count(items, 2),
		"very many": count(items, 1<<31), "cut": items[:len(items)-1], "longer": append(bytes.Clone(items), 0),
		"huge payload": {0, 0, 0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"huge cursor":  {0, 0, 0, 1, 0x81, 0x08, 0, 0},
	} {
		if _, err := parseItems(b); err == nil {
			t.Errorf("items, %s: taken", name)
		}
	}
	for _, b := range [][]byte{nil, {1}, {0}, {0, 0, 0}, {200, 1}} {
		if _, err := parseNotice(b); err == nil {
			t.Errorf("notice %x: taken", b)
		}
	}
}

// The largest things that the limits allow pass, both ways.
func TestLargestMembersPass(t *testing.T) {
	var b itemBatch
	b.reset()
	for !b.full() {
		if err := b.add(Item{Cursor: make([]byte, maxCursor), Body: make([]byte, maxItemBody), Payload: nil}); err != nil {
			t.Fatal(err)
		}
	}
	b.b = b.b[:batchBytes-1] // as if one more had fitted exactly
	if n := len(b.b) + maxCursor + maxItemBody + fs.MaxWrite + 3*binary.MaxVarintLen64; n > maxItemsBody {
		t.Errorf("a batch of items may have %d bytes, the limit is %d", n, maxItemsBody)
	}
	if n := batchBytes - 1 + fs.MaxRecord + binary.MaxVarintLen64 + fs.MaxWrite; n > maxRecordsBody {
		t.Errorf("a batch of records may have %d bytes, the limit is %d", n, maxRecordsBody)
	}
	for _, it := range []Item{
		{Cursor: make([]byte, maxCursor+1)}, {Body: make([]byte, maxItemBody+1)}, {Payload: make([]byte, fs.MaxWrite+1)},
	} {
		if b.add(it) == nil {
			t.Errorf("an item over the limits was taken")
		}
	}
}

func FuzzFrames(f *testing.F) {
	_, records := sampleRecords(&testing.T{})
	_, items := sampleItems(&testing.T{})
	f.Add(rawFrame(frameRecords, records))
	f.Add(rawFrame(frameItems, items))
	f.Add(rawFrame(frameHeartbeat, appendHeartbeat(nil, sampleHeartbeat())))
	f.Add(rawFrame(frameEnd, appendNotice(nil, notice{endComplete, "x"})))
	f.Fuzz(func(t *testing.T, raw []byte) {
		// Whatever a frame says, its checksum is made right, or the fuzzer
		// would never get past it.
		if len(raw) >= frameHeaderSize {
			raw = frameOf(frameType(raw[0]), raw[1], raw[frameHeaderSize:])
		}
		typ, body, err := readFrame(raw)
		if err != nil {
			return
		}
		fuzzBody(t, typ, body)
	})
}

// fuzzBody checks that what is taken means the same when it is sent again.
func fuzzBody(t *testing.T, typ frameType, body []byte) {
	switch typ {
	case frameRecords:
		recs, err := parseRecords(body, nil)
		if err != nil {
			return
		}
		var b recordBatch
		b.reset()
		for _, in := range recs {
			if err := b.add(in.Record, in.Payload); err != nil {
				t.Fatal(err)
			}
		}
		again, err := parseRecords(b.body(), nil)
		if diff := cmp.Diff(recs, again); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}
	case frameItems:
		items, err := parseItems(body)
		if err != nil {
			return
		}
		var b itemBatch
		b.reset()
		for _, it := range items {
			if err := b.add(it); err != nil {
				t.Fatal(err)
			}
		}
		again, err := parseItems(b.body())
		if diff := cmp.Diff(items, again); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}
	case frameHeartbeat:
		if h, err := parseHeartbeat(body); err == nil && !bytes.Equal(appendHeartbeat(nil, h), body) {
			t.Fatalf("heartbeat %x", body)
		}
	default:
		if n, err := parseNotice(body); err == nil {
			if again, err := parseNotice(appendNotice(nil, n)); err != nil || again != n {
				t.Fatalf("notice %+v became %+v, %v", n, again, err)
			}
		}
	}
}
