package replica

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// recordBatch builds the body of a records frame:
//
//	4  number of records
//	4  length of the records section
//	   records section: per record a varint length and the record
//	   the plain payloads, one after the other; a record tells its length
//
// The payloads stand behind the records, so that the receiver can keep the
// small records and use the memory of the payloads again.
type recordBatch struct {
	count    int
	head     []byte // the prefix and the records section
	payloads []byte
	one      []byte // scratch: one encoded record
}

const batchPrefix = 8

func (b *recordBatch) reset() {
	b.count = 0
	b.head = append(b.head[:0], make([]byte, batchPrefix)...)
	b.payloads = b.payloads[:0]
}

// add copies r and its payload.
func (b *recordBatch) add(r *fs.Record, payload []byte) error {
	if int(r.PayloadLen) != len(payload) {
		return fmt.Errorf("record %d names a payload of %d bytes, the journal gave %d", r.Seq, r.PayloadLen, len(payload))
	}
	b.one = r.Append(b.one[:0])
	b.head = binary.AppendUvarint(b.head, uint64(len(b.one)))
	b.head = append(b.head, b.one...)
	b.payloads = append(b.payloads, payload...)
	b.count++
	return nil
}

func (b *recordBatch) full() bool {
	return len(b.head)+len(b.payloads) >= batchBytes || b.count >= batchMembers
}

// body is valid until the next reset.
func (b *recordBatch) body() []byte {
	binary.BigEndian.PutUint32(b.head, uint32(b.count))
	binary.BigEndian.PutUint32(b.head[4:], uint32(len(b.head)-batchPrefix))
	b.head = append(b.head, b.payloads...)
	return b.head
}

// parseRecords reads a records body. The records are copied out of it, the
// payloads alias it. recs is used again when it is large enough.
func parseRecords(body []byte, recs []Incoming) ([]Incoming, error) {
	if len(body) < batchPrefix {
		return nil, badFrame("records: %d bytes", len(body))
	}
	count, n := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
	body = body[batchPrefix:]
	if count == 0 || count > batchMembers || uint64(n) > uint64(len(body)) {
		return nil, badFrame("records: %d records in %d bytes of %d", count, n, len(body))
	}
	section := append([]byte(nil), body[:n]...)
	payloads := body[n:]
	recs = recs[:0]
	for range count {
		size, k := binary.Uvarint(section)
		if k <= 0 || size > uint64(len(section)-k) || size > fs.MaxRecord {
			return nil, badFrame("records: a record's length is wrong")
		}
		r, err := fs.ParseRecord(section[k : k+int(size)])
		if err != nil {
			return nil, err
		}
		if int(r.PayloadLen) > len(payloads) {
			return nil, badFrame("records: payload of record %d is cut short", r.Seq)
		}
		recs = append(recs, Incoming{Record: r, Payload: payloads[:r.PayloadLen:r.PayloadLen]})
		section, payloads = section[k+int(size):], payloads[r.PayloadLen:]
	}
	if len(section) != 0 || len(payloads) != 0 {
		return nil, badFrame("records: %d bytes left over", len(section)+len(payloads))
	}
	return recs, nil
}

// heartbeat is what a source tells of itself: at Time everything up to Durable
// was durable there, and Bytes is the size of that history.
type heartbeat struct {
	Durable fs.Pos
	Time    time.Time
	Bytes   uint64
}

// heartbeatSize: position 38, nanoseconds since 1970 8, history bytes 8.
const heartbeatSize = fs.PosSize + 8 + 8

func appendHeartbeat(b []byte, h heartbeat) []byte {
	b = fs.AppendPos(b, h.Durable)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Time.UnixNano()))
	return binary.BigEndian.AppendUint64(b, h.Bytes)
}

func parseHeartbeat(b []byte) (heartbeat, error) {
	if len(b) != heartbeatSize {
		return heartbeat{}, badFrame("heartbeat of %d bytes, want %d", len(b), heartbeatSize)
	}
	pos, err := fs.ParsePos(b)
	b = b[fs.PosSize:]
	return heartbeat{
		Durable: pos,
		Time:    time.Unix(0, int64(binary.BigEndian.Uint64(b))),
		Bytes:   binary.BigEndian.Uint64(b[8:]),
	}, err
}

// itemBatch builds the body of an items frame: their number in 4 bytes, then
// per item cursor and body with varint lengths, and the payload with its
// length plus one (0: no payload).
type itemBatch struct {
	count int
	b     []byte
}

func (b *itemBatch) reset() {
	b.count = 0
	b.b = append(b.b[:0], 0, 0, 0, 0)
}

// add copies it.
func (b *itemBatch) add(it Item) error {
	if len(it.Cursor) > maxCursor || len(it.Body) > maxItemBody || len(it.Payload) > fs.MaxWrite {
		return fmt.Errorf("item with a cursor of %d, a body of %d and a payload of %d bytes is over the limits",
			len(it.Cursor), len(it.Body), len(it.Payload))
	}
	b.b = append(binary.AppendUvarint(b.b, uint64(len(it.Cursor))), it.Cursor...)
	b.b = append(binary.AppendUvarint(b.b, uint64(len(it.Body))), it.Body...)
	if it.Payload == nil {
		b.b = append(b.b, 0)
	} else {
		b.b = append(binary.AppendUvarint(b.b, uint64(len(it.Payload))+1), it.Payload...)
	}
	b.count++
	return nil
}

func (b *itemBatch) full() bool { return len(b.b) >= batchBytes || b.count >= batchMembers }

func (b *itemBatch) body() []byte {
	binary.BigEndian.PutUint32(b.b, uint32(b.count))
	return b.b
}

// parseItems reads an items body; the items alias it.
func parseItems(body []byte) ([]Item, error) {
	if len(body) < 4 {
		return nil, badFrame("items: %d bytes", len(body))
	}
	count := binary.BigEndian.Uint32(body)
	body = body[4:]
	if count == 0 || count > batchMembers || uint64(count)*3 > uint64(len(body)) {
		return nil, badFrame("items: %d items in %d bytes", count, len(body))
	}
	items := make([]Item, count)
	for i := range items {
		it, ok := &items[i], true
		if it.Cursor, body, ok = cutBytes(body, 0, maxCursor); !ok {
			return nil, badFrame("items: a cursor's length is wrong")
		}
		if it.Body, body, ok = cutBytes(body, 0, maxItemBody); !ok {
			return nil, badFrame("items: a body's length is wrong")
		}
		if it.Payload, body, ok = cutBytes(body, 1, fs.MaxWrite); !ok {
			return nil, badFrame("items: a payload's length is wrong")
		}
	}
	if len(body) != 0 {
		return nil, badFrame("items: %d bytes left over", len(body))
	}
	return items, nil
}

// cutBytes takes a byte string whose varint length is bias more than it is
// long; a length below bias stands for nil.
func cutBytes(b []byte, bias, limit uint64) (s, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > limit+bias {
		return nil, nil, false
	}
	b = b[k:]
	if n < bias {
		return nil, b, true
	}
	n -= bias
	if n > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

// notice is the body of end and error frames: a code for programs and a text
// for humans, both with varint lengths.
type notice struct {
	Code string
	Text string
}

const (
	maxNoticeCode = 64
	maxNoticeText = 2 << 10
)

func appendNotice(b []byte, n notice) []byte {
	code, text := n.Code[:min(len(n.Code), maxNoticeCode)], n.Text[:min(len(n.Text), maxNoticeText)]
	b = append(binary.AppendUvarint(b, uint64(len(code))), code...)
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func parseNotice(b []byte) (notice, error) {
	code, b, ok := cutBytes(b, 0, maxNoticeCode)
	if !ok {
		return notice{}, badFrame("notice: the code's length is wrong")
	}
	text, b, ok := cutBytes(b, 0, maxNoticeText)
	if !ok || len(b) != 0 {
		return notice{}, badFrame("notice: the text's length is wrong")
	}
	return notice{string(code), string(text)}, nil
}
