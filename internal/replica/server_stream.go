package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// writeChunk is how much is handed to the connection at once, so that a slow
// but living destination makes progress within stalledWrite.
const writeChunk = 64 << 10

// frameSender writes the frames of one response. Safe for concurrent use:
// heartbeats come from a goroutine of their own.
type frameSender struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	clock Clock
	enc   *zstd.Encoder
	sent  func(n int)

	mu      sync.Mutex
	scratch []byte
	err     error
}

// send writes one frame and flushes it. After the first error all calls fail.
func (f *frameSender) send(t frameType, plain []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	body, flags := plain, byte(0)
	if t.mayCompress() {
		body, flags, f.scratch = compress(f.enc, plain, f.scratch)
	}
	var h [frameHeaderSize]byte
	putFrameHeader(&h, t, flags, body)
	f.err = f.write(h[:], body)
	return f.err
}

func (f *frameSender) write(head, body []byte) error {
	f.sent(len(head) + len(body))
	if _, err := f.w.Write(head); err != nil {
		return err
	}
	for len(body) > 0 {
		n := min(len(body), writeChunk)
		stop := f.clock.AfterFunc(stalledWrite, f.abort)
		_, err := f.w.Write(body[:n])
		stop()
		if err != nil {
			return err
		}
		body = body[n:]
	}
	defer f.clock.AfterFunc(stalledWrite, f.abort)()
	return f.rc.Flush()
}

// abort makes the write that runs, and later ones, fail.
func (f *frameSender) abort() { _ = f.rc.SetWriteDeadline(time.Unix(1, 0)) }

// openSender begins a response of frames. The deadlines of the http.Server are
// for requests, not for a stream; done must be called before the handler returns.
func (s *Server) openSender(ctx context.Context, w http.ResponseWriter, key ackKey) (f *frameSender, done func()) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{})  // a writer without deadlines keeps none
	_ = rc.SetWriteDeadline(time.Time{}) // likewise
	f = &frameSender{w: w, rc: rc, clock: s.clock, enc: s.enc, sent: s.metrics.sender(key.fileSystem)}
	stopFarewell := func() bool { return true }
	var mu sync.Mutex
	ended := false
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if !ended {
			stopFarewell = s.clock.AfterFunc(farewell, f.abort)
		}
	})
	w.Header().Set("Content-Type", frameContentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Connection", "close") // the next stream wants a fresh connection anyway
	return f, func() {
		stop()
		mu.Lock()
		defer mu.Unlock()
		ended = true
		stopFarewell()
	}
}

// heartbeats sends one heartbeat at once and then one each interval, until the
// returned function is called. It ends the stream, by end, when the region no
// longer gives out the source or nothing can be sent.
func (s *Server) heartbeats(ctx context.Context, f *frameSender, r *request, end context.CancelCauseFunc) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	beat := func() bool {
		if _, err := s.cfg.Lookup(r.key.fileSystem, r.key.replication); err != nil {
			s.forgetUnknown(r.key, err)
			end(refuse(err))
			return false
		}
		// The clock is read first: what is durable then is durable at that time
		// or later, never the other way round.
		now := s.clock.Now()
		h := heartbeat{Durable: r.src.Durable(), Time: now, Bytes: r.src.HistoryBytes()}
		if err := f.send(frameHeartbeat, appendHeartbeat(nil, h)); err != nil {
			end(err)
			return false
		}
		return true
	}
	go func() {
		defer close(done)
		if beat() {
			every(ctx, s.clock, s.cfg.HeartbeatInterval, beat)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// serveStream sends the records after the destination's position, for ever.
func (s *Server) serveStream(w http.ResponseWriter, hr *http.Request) {
	r, records, err := s.handshake(hr)
	if err != nil {
		writeRefusal(w, refuse(err))
		return
	}
	defer records.Close()
	leave, err := s.enter()
	if err != nil {
		writeRefusal(w, refuse(err))
		return
	}
	defer leave()
	ctx, done := s.takeOver(hr.Context(), r.key)
	defer done()
	r.log.Info("replication stream opened")
	err = s.runStream(ctx, w, r, func(ctx context.Context, f *frameSender) error {
		return sendRecords(ctx, f, records)
	})
	r.log.Info("replication stream ended", "reason", err)
}

// handshake finds the destination's position in the source's history.
func (s *Server) handshake(hr *http.Request) (*request, Records, error) {
	r, err := s.admit(hr)
	if err != nil {
		return nil, nil, err
	}
	var pos fs.Pos
	if err := pos.UnmarshalText([]byte(hr.URL.Query().Get(keyPos))); err != nil {
		return nil, nil, badRequest(err)
	}
	h, err := r.src.History()
	if err != nil {
		return nil, nil, err
	}
	if pos.Seq == 0 {
		return nil, nil, &refusal{Code: codeBootstrap, History: toWire(h), Message: "the destination is empty: take a whole checkpoint first"}
	}
	diverged := func(why string) error {
		return &refusal{Code: codeDiverged, History: toWire(h), Message: fmt.Sprintf("the source does not have position %s: %s", pos, why)}
	}
	if hr.URL.Query().Has(keyResync) {
		return nil, nil, diverged("it asks for a resync, because a payload after it was cleaned away")
	}
	has, err := r.src.Has(pos)
	switch {
	case errors.Is(err, ErrTrimmed) || err == nil && has && pos.Seq < h.Base.Seq:
		return nil, nil, diverged("its journal no longer reaches back there")
	case err != nil:
		return nil, nil, err
	case !has:
		return nil, nil, diverged("the histories differ")
	}
	records, err := r.src.Records(pos.Seq)
	if errors.Is(err, ErrTrimmed) {
		return nil, nil, diverged("its journal no longer reaches back there")
	}
	if err != nil {
		return nil, nil, err
	}
	s.noteAck(r.key, pos)
	return r, records, nil
}

// runStream runs body between the first heartbeat and the last frame, which
// tells the destination why the stream ended. It returns that reason.
func (s *Server) runStream(ctx context.Context, w http.ResponseWriter, r *request, body func(context.Context, *frameSender) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(s.closing, func() {
		end(&refusal{Code: endClosing, Message: "the source's server stops"})
	})()
	f, done := s.openSender(ctx, w, r.key)
	defer done()
	stop := s.heartbeats(ctx, f, r, end)
	err := body(ctx, f)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	end(err)
	stop()
	if r.Context().Err() != nil {
		return fmt.Errorf("the destination is gone: %w", r.Context().Err())
	}
	t, n := lastFrame(err)
	if e := f.send(t, appendNotice(nil, n)); e != nil {
		return fmt.Errorf("%w (and the last frame was not sent: %w)", err, e)
	}
	return err
}

// errComplete ends a stream that has sent all it had to.
var errComplete = &refusal{Code: endComplete, Message: "all was sent"}

func lastFrame(err error) (frameType, notice) {
	r := refuse(err)
	t := frameEnd
	if r.Code == codeInternal {
		t = frameError
	}
	return t, notice{Code: r.Code, Text: r.Message}
}

// sendRecords sends batches of whatever is durable. It never waits to fill one.
func sendRecords(ctx context.Context, f *frameSender, records Records) error {
	var b recordBatch
	for {
		b.reset()
		rec, payload, err := records.Next(ctx)
		for ok := true; err == nil && ok; {
			if err = b.add(rec, payload); err != nil || b.full() {
				break
			}
			rec, payload, ok, err = records.TryNext()
		}
		if b.count > 0 {
			if e := f.send(frameRecords, b.body()); e != nil {
				return e
			}
		}
		if err != nil {
			return noteEnd(err)
		}
	}
}

// noteEnd keeps io.EOF, which a Records may give when its source closes, from
// looking like a broken connection.
func noteEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: its journal was closed", ErrNotReady)
	}
	return err
}
