package replica

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

const (
	// firstRetry to lastRetry: quick, because every moment without a stream is
	// a moment of data that a failover would lose.
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second
	// standingRetry is how often a follower that stands still asks whether the
	// source has healed.
	standingRetry = 5 * time.Second
	// stubborn failures at one position in a row are told as standing still,
	// though they are tried again.
	stubborn = 8
	// DefaultParallel connections of a transfer.
	DefaultParallel = 4
)

// FollowerConfig says what a Follower needs. Dest, HTTP, BaseURL, the ids and
// Lineage are required.
type FollowerConfig struct {
	Dest Destination
	HTTP *http.Client // see NewHTTPClient; without a Timeout: streams last
	// BaseURL of the source's peer listener, without PathPrefix.
	BaseURL       string
	FileSystemID  string // of the source
	ReplicationID string
	Lineage       fs.Lineage // of the data; a source with another one is not followed
	// AllowReplace permits to overwrite a destination that holds data of
	// another lineage. The operator asked for it.
	AllowReplace bool
	// Followed says that this destination has followed its source in this
	// replication before: its history is the source's from then on, and a
	// source that has less is not followed (ErrSourceWentBack).
	Followed       bool
	BandwidthLimit int64 // bytes per second on the wire; 0: none
	Parallel       int   // connections of a transfer; 0: DefaultParallel

	Clock      Clock                 // nil: SystemClock
	Rand       io.Reader             // for names and jitter; nil: crypto/rand
	Logger     *slog.Logger          // nil: none
	Registerer prometheus.Registerer // nil: no metrics
}

func (c *FollowerConfig) setDefaults() error {
	if c.Dest == nil || c.HTTP == nil || c.BaseURL == "" || c.FileSystemID == "" || c.ReplicationID == "" {
		return errors.New("a follower needs a destination, an HTTP client, a URL, a file system and a replication")
	}
	if c.Lineage == (fs.Lineage{}) {
		return errors.New("a follower needs the lineage that it is to follow")
	}
	if c.Clock == nil {
		c.Clock = SystemClock{}
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Parallel <= 0 {
		c.Parallel = DefaultParallel
	}
	return nil
}

// Follower keeps one destination following its source. Run may be called once;
// Status at any time, by anybody.
type Follower struct {
	cfg   FollowerConfig
	clock Clock
	log   *slog.Logger
	track *tracker
	peer  *peer

	// Of Run's goroutine only:
	followed bool
	gap      bool        // the source has not all payloads after our position
	stage    *unfinished // the transfer to go on with
	lost     string      // name of a checkpoint that the source no longer has
	release  string      // checkpoint that can go once the stream runs
	tries    tries
}

// NewFollower checks cfg and makes a Follower. Nothing happens before Run.
func NewFollower(cfg FollowerConfig) (*Follower, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	f := &Follower{cfg: cfg, followed: cfg.Followed, clock: cfg.Clock, track: newTracker(cfg.Clock)}
	f.log = cfg.Logger.With("source_file_system", cfg.FileSystemID, "replication", cfg.ReplicationID)
	f.peer = newPeer(&f.cfg, f.track)
	return f, nil
}

// Status tells how far the destination is.
func (f *Follower) Status() Status {
	s := f.track.status(f.cfg.Dest.Durable().Seq, f.cfg.Dest.HistoryBytes())
	h, err := f.cfg.Dest.History()
	s.Whole = err == nil && h.Last.Seq > 0 && h.Lineage == f.cfg.Lineage
	return s
}

// Run follows until ctx ends and returns ctx's error. All failures are retried
// and told by Status; poison is not retried. When it returns, the destination
// is not used any more.
func (f *Follower) Run(ctx context.Context) error {
	defer f.registerMetrics()()
	for ctx.Err() == nil {
		before := f.cfg.Dest.Durable()
		err := f.session(ctx)
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			f.tries = tries{}
			continue
		}
		verdict := f.tries.judge(err, f.cfg.Dest.Durable() != before)
		f.tell(err, verdict)
		if verdict == verdictPoison {
			<-ctx.Done()
			break
		}
		sleep(ctx, f.clock, f.tries.wait(verdict, f.jitter()))
	}
	return ctx.Err()
}

func (f *Follower) registerMetrics() (unregister func()) {
	reg := f.cfg.Registerer
	if reg == nil {
		return func() {}
	}
	m := newFollowerMetrics(f)
	if err := reg.Register(m); err != nil {
		f.log.Warn("the replication goes on without metrics", "error", err)
		return func() {}
	}
	return func() { reg.Unregister(m) }
}

// tell makes a failure known: loudly once, then in the debug log only.
func (f *Follower) tell(err error, v verdict) {
	level := slog.LevelDebug
	if f.track.fail(err, v != verdictRetry) {
		level = slog.LevelWarn
		if v != verdictRetry {
			level = slog.LevelError
		}
	}
	f.log.Log(context.Background(), level, "replication interrupted", "error", err, "stands_still", v != verdictRetry)
}

// jitter is a random number in [0, 1).
func (f *Follower) jitter() float64 {
	var b [8]byte
	if _, err := io.ReadFull(f.cfg.Rand, b[:]); err != nil {
		return 0
	}
	return float64(binary.BigEndian.Uint64(b[:])>>11) / (1 << 53)
}

// verdict says what follows from a failed session.
type verdict int

const (
	verdictRetry    verdict = iota // it passes
	verdictStanding                // somebody has to do something; then it heals
	verdictPoison                  // it stays
)

// tries counts failures in a row.
type tries struct {
	failures   int // with or without progress between them: since records last flowed
	noProgress int // of this side's own making, at one position
}

// judge tells apart what passes from what does not.
func (t *tries) judge(err error, progress bool) verdict {
	if progress {
		*t = tries{}
	}
	t.failures++
	var own *appendError
	var r *refusal
	switch {
	case errors.Is(err, ErrPoison):
		return verdictPoison
	case errors.Is(err, ErrOtherLineage) || errors.Is(err, ErrEmptySource) || errors.Is(err, ErrSourceWentBack):
		return verdictStanding
	case errors.As(err, &r) && (r.Code == codeLineage || r.Code == codeLevel):
		return verdictStanding
	case errors.As(err, &own):
		if t.noProgress++; t.noProgress >= stubborn {
			return verdictStanding
		}
	}
	return verdictRetry
}

// wait doubles from firstRetry to lastRetry, of which half is random.
func (t *tries) wait(v verdict, jitter float64) time.Duration {
	d := standingRetry
	if v == verdictRetry {
		d = min(lastRetry, firstRetry<<min(max(t.failures-1, 0), 10))
	}
	return d/2 + time.Duration(float64(d/2)*jitter)
}

// appendError is a failure of this side to take what came.
type appendError struct {
	have fs.Pos // the prefix that is held
	err  error
}

func (e *appendError) Error() string {
	return fmt.Sprintf("the destination cannot go on after record %d, up to which it is whole: %v", e.have.Seq, e.err)
}

func (e *appendError) Unwrap() error { return e.err }
