package replica

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// readAhead is how many batches may wait for the destination: enough to read
// and unpack while it appends, little enough that a promotion has nothing to
// work off.
const readAhead = 2

// sharedDecoder is one for all followers of the process: its DecodeAll may be
// called concurrently and keeps nothing between calls.
var sharedDecoder = sync.OnceValue(newDecoder)

// session connects once and follows until something breaks, or carries a
// transfer through. nil means: connect again at once.
func (f *Follower) session(ctx context.Context) error {
	// What was appended becomes durable first, so that the durable position is
	// the whole position: a stream from there repeats nothing.
	if err := f.cfg.Dest.Sync(ctx); err != nil {
		return &appendError{f.cfg.Dest.Durable(), err}
	}
	h, err := f.cfg.Dest.History()
	if err != nil {
		return fmt.Errorf("history of the destination: %w", err)
	}
	if err := checkOwn(&h, f.cfg.Lineage, f.cfg.AllowReplace); err != nil {
		return err
	}
	have := h.Last
	if h.Lineage != f.cfg.Lineage {
		have = fs.Pos{} // of other data: to be replaced
	}
	q := url.Values{keyPos: {posText(have)}}
	if f.gap {
		q.Set(keyResync, "1")
	}
	stream, err := f.peer.openFrames(ctx, callStream, q, false)
	if err == nil {
		err = f.follow(ctx, stream, have)
		// The records are there, but not all payloads any more: what changed
		// can be fetched, how it changed can not.
		f.gap = errors.Is(err, ErrTrimmed)
		return err
	}
	var r *refusal
	if !errors.As(err, &r) || r.History == nil {
		return err
	}
	src, herr := r.History.history()
	if herr != nil {
		return herr
	}
	return f.catchUp(ctx, &h, &src)
}

// batch is one records frame with the memory that holds it.
type batch struct {
	recs []Incoming
	buf  []byte
}

// follow appends what the stream brings. It returns why the stream ended.
func (f *Follower) follow(ctx context.Context, stream *frames, have fs.Pos) error {
	f.track.follow()
	f.followed = true
	if f.stage != nil { // of a transfer that is no longer needed
		f.release = f.stage.c.Name
	}
	f.stage, f.lost = nil, ""
	began := f.clock.Now()
	defer func() {
		if f.clock.Now().Sub(began) > lastRetry {
			f.tries.failures = 0 // it worked: the next attempt need not wait long
		}
	}()
	f.log.Info("following the source", "pos", have)
	ctx, cancel := context.WithCancel(ctx)
	beats := make(chan struct{}, 1)
	queue, free := make(chan *batch, readAhead), make(chan *batch, readAhead+2)
	for range cap(free) {
		free <- &batch{}
	}
	var others sync.WaitGroup
	var readErr error
	others.Go(func() {
		defer close(queue)
		readErr = f.read(ctx, stream, have, queue, free, beats)
	})
	others.Go(func() { f.reportDurable(ctx, beats) })
	appended := make(chan struct{}, 1)
	others.Go(func() { f.syncSoon(ctx, appended) })
	others.Go(func() { f.dropOld(ctx) })

	err := f.appendAll(ctx, queue, free, have, appended)
	cancel()
	stream.close(err)
	others.Wait()
	if err == nil {
		err = readErr
	}
	return err
}

// appendAll appends the queue's batches until it is closed or one fails.
func (f *Follower) appendAll(ctx context.Context, queue <-chan *batch, free chan<- *batch, have fs.Pos, appended chan<- struct{}) error {
	for b := range queue {
		recs, err := contiguous(b.recs, have)
		if err != nil {
			return err
		}
		if len(recs) > 0 {
			if err := f.cfg.Dest.Append(ctx, recs); err != nil {
				return &appendError{have, err}
			}
			have = recs[len(recs)-1].Record.Pos()
			select {
			case appended <- struct{}{}:
			default: // one is waiting
			}
		}
		clear(b.recs)
		free <- b // never blocks: there are no more batches than places
	}
	return nil
}

// read turns frames into batches until the stream ends, and says why it did.
func (f *Follower) read(ctx context.Context, stream *frames, have fs.Pos, queue chan<- *batch, free <-chan *batch, beats chan<- struct{}) error {
	progress := streamProgress{received: have.Seq, since: f.clock.Now()}
	beat := func(h heartbeat) error {
		if err := progress.beat(h, f.clock.Now()); err != nil {
			return err
		}
		return f.beat(h, beats)
	}
	for {
		var b *batch
		select {
		case b = <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
		t, body, err := stream.nextBatch(b.buf, beat)
		b.buf = body
		if err != nil {
			return err
		}
		if t != frameRecords {
			return badFrame("items in a stream of records")
		}
		if b.recs, err = parseRecords(body, b.recs); err != nil {
			return err
		}
		last := b.recs[len(b.recs)-1].Record.Seq
		select {
		case queue <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
		progress.records(last, f.clock.Now())
	}
}

// streamProgress notices a source that has records and sends none, though its
// heartbeats come: a stream that stalls must not look alive for ever.
type streamProgress struct {
	received uint64
	since    time.Time // when records came last, or none were missing
}

// stalledStream is long beside any wait for a disk.
const stalledStream = 30 * time.Second

func (p *streamProgress) records(seq uint64, now time.Time) { p.received, p.since = seq, now }

func (p *streamProgress) beat(h heartbeat, now time.Time) error {
	if h.Durable.Seq <= p.received {
		p.since = now
	}
	if now.Sub(p.since) > stalledStream {
		return fmt.Errorf("the source is at record %d, but sent none after %d for %s", h.Durable.Seq, p.received, stalledStream)
	}
	return nil
}

// beat takes a heartbeat of a stream of records. One that names our sequence
// with another chain means that the source's history is no longer ours: the
// next handshake sorts that out.
func (f *Follower) beat(h heartbeat, beats chan<- struct{}) error {
	here := f.cfg.Dest.Durable()
	if h.Durable.Seq == here.Seq && h.Durable != here {
		return fmt.Errorf("the source is at %s, the destination at %s: the histories differ", h.Durable, here)
	}
	f.track.beat(h, here.Seq)
	select {
	case beats <- struct{}{}:
	default: // one is waiting
	}
	return nil
}

// ackEvery is the shortest time between two acks: what waits for them (a
// switchover, the lag at the source) does not see finer steps.
const ackEvery = 20 * time.Millisecond

// reportDurable tells the source what is durable here, after each heartbeat
// and soon after each change. Failures pass: the next ack says more than the lost one.
func (f *Follower) reportDurable(ctx context.Context, beats <-chan struct{}) {
	for ctx.Err() == nil {
		changed := f.cfg.Dest.Notify()
		pos := f.cfg.Dest.Durable()
		if err := f.peer.ack(ctx, pos); err != nil && ctx.Err() == nil {
			f.log.Debug("ack not taken", "pos", pos, "error", err)
		}
		sleep(ctx, f.clock, ackEvery)
		select {
		case <-changed:
		case <-beats:
		case <-ctx.Done():
		}
	}
}

// syncEvery is the shortest time between two syncs of what was appended: the
// lag that is reported, and the wait of a switchover, are about as long.
const syncEvery = 50 * time.Millisecond

// syncSoon makes durable what was appended, soon after. The destination would
// do so by itself, but only after a while. Failures show where records are
// appended.
func (f *Follower) syncSoon(ctx context.Context, appended <-chan struct{}) {
	for {
		select {
		case <-appended:
		case <-ctx.Done():
			return
		}
		if err := f.cfg.Dest.Sync(ctx); err != nil && ctx.Err() == nil {
			f.log.Debug("what was appended is not durable yet", "error", err)
		}
		sleep(ctx, f.clock, syncEvery)
	}
}

// dropOld releases the checkpoint of a transfer that is over. After a finished
// one this waits until the stream has begun, so that the source cannot trim
// what comes next unseen.
func (f *Follower) dropOld(ctx context.Context) {
	if f.release == "" {
		return
	}
	if err := f.peer.releaseCheckpoint(ctx, f.release); err != nil {
		f.log.Debug("checkpoint not released; it will expire", "name", f.release, "error", err)
		return
	}
	f.release = ""
}
