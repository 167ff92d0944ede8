package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Defaults and limits of a server.
const (
	// DefaultHeartbeat is often enough that a lag shown is right to a tenth of
	// a second, and costs 700 bytes a second.
	DefaultHeartbeat = 100 * time.Millisecond
	// stalledWrite: a destination that takes nothing for so long is gone, or
	// comes back by itself. It may be slow for good reasons, hence half a minute.
	stalledWrite = 30 * time.Second
	// stalledRead bounds the wait for the body of a request.
	stalledRead = 60 * time.Second
	// farewell is the time for a last frame once a stream is to end.
	farewell = time.Second
	// maxCheckpointName and maxAckBody are more than the other side sends.
	maxCheckpointName = 64
	maxAckBody        = 1 << 10
	maxParts          = 64
)

// Limits of a Server; zero fields get their defaults.
type Limits struct {
	// Streams open at once, of records and of items, over all replications.
	// Default 512: each holds some 5 MiB while it is busy.
	Streams int
	// WriteSetBytes of one checkpoint. Default 64 MiB; a destination with more
	// asks for the whole tree.
	WriteSetBytes int64
}

func (l *Limits) setDefaults() {
	if l.Streams == 0 {
		l.Streams = 512
	}
	if l.WriteSetBytes == 0 {
		l.WriteSetBytes = maxWriteSet
	}
}

// maxWriteSet is what a destination sends at most: beyond it the whole tree is
// not much dearer, and both sides hold the set in memory.
const maxWriteSet = 64 << 20

// ServerConfig says what a Server needs. Lookup is required and is called for
// every request and at every heartbeat: it must be quick. Its errors wrap
// ErrUnknownReplication, ErrNotSource or ErrNotReady.
type ServerConfig struct {
	Lookup func(fileSystemID, replicationID string) (Source, error)
	// OnAck, if set, is told each position that a destination holds durably.
	// It must not block.
	OnAck             func(fileSystemID, replicationID string, pos fs.Pos)
	Clock             Clock                 // nil: SystemClock
	Logger            *slog.Logger          // nil: none
	Registerer        prometheus.Registerer // nil: no metrics
	HeartbeatInterval time.Duration         // 0: DefaultHeartbeat
	Limits            Limits
}

// Server lets destinations follow the file systems of a region. It is an
// http.Handler for PathPrefix; the listener has checked the peer's certificate
// already. Safe for concurrent use.
type Server struct {
	cfg     ServerConfig
	clock   Clock
	log     *slog.Logger
	mux     *http.ServeMux
	enc     *zstd.Encoder
	metrics *serverMetrics
	acks    *ackBook
	closing context.Context
	close   context.CancelFunc

	mu      sync.Mutex
	streams int
	live    map[ackKey]*liveStream
}

// liveStream is the one stream of records of a replication.
type liveStream struct{ end context.CancelCauseFunc }

// NewServer makes a Server. Close it to end its streams.
func NewServer(cfg ServerConfig) *Server {
	if cfg.Clock == nil {
		cfg.Clock = SystemClock{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.HeartbeatInterval <= 0 {
		cfg.HeartbeatInterval = DefaultHeartbeat
	}
	cfg.Limits.setDefaults()
	s := &Server{
		cfg: cfg, clock: cfg.Clock, log: cfg.Logger, mux: http.NewServeMux(), enc: newEncoder(),
		metrics: newServerMetrics(cfg.Registerer), live: map[ackKey]*liveStream{},
	}
	s.acks = newAckBook()
	s.closing, s.close = context.WithCancel(context.Background())
	s.routes()
	return s
}

func (s *Server) routes() {
	prefix := PathPrefix + "{fs}/{replication}/"
	s.mux.HandleFunc("GET "+prefix+callStream, s.serveStream)
	s.mux.HandleFunc("GET "+prefix+callItems, s.serveItems)
	s.mux.HandleFunc("GET "+prefix+callPosition, s.simple(0, s.servePosition))
	s.mux.HandleFunc("POST "+prefix+callAck, s.simple(maxAckBody, s.serveAck))
	s.mux.HandleFunc("POST "+prefix+callOpen, s.simple(s.cfg.Limits.WriteSetBytes, s.serveOpen))
	s.mux.HandleFunc("POST "+prefix+callCompare, s.simple(maxQuery, s.serveCompare))
	s.mux.HandleFunc("POST "+prefix+callNarrow, s.simple(s.cfg.Limits.WriteSetBytes, s.serveNarrow))
	s.mux.HandleFunc("POST "+prefix+callRelease, s.simple(0, s.serveRelease))
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Close ends all streams with a last frame, and soon the requests that run.
// It does not wait; the http.Server's Shutdown does.
func (s *Server) Close() { s.close() }

// request is a request that passed the checks common to all calls.
type request struct {
	*http.Request
	key ackKey
	src Source
	log *slog.Logger
}

// admit checks the feature level, the replication and the lineage.
func (s *Server) admit(r *http.Request) (*request, error) {
	q := r.URL.Query()
	if level := q.Get(keyLevel); level != strconv.Itoa(FeatureLevel) {
		return nil, &refusal{Code: codeLevel, Message: fmt.Sprintf(
			"the source speaks feature level %d, the destination %.20q: run the same release on both sides", FeatureLevel, level)}
	}
	key := ackKey{r.PathValue("fs"), r.PathValue("replication")}
	src, err := s.cfg.Lookup(key.fileSystem, key.replication)
	if err != nil {
		s.forgetUnknown(key, err)
		return nil, err
	}
	lineage, err := fs.ParseLineage(q.Get(keyLineage))
	if err != nil {
		return nil, badRequest(err)
	}
	h, err := src.History()
	if err != nil {
		return nil, err
	}
	if h.Lineage != lineage {
		return nil, &refusal{Code: codeLineage, History: toWire(h), Message: fmt.Sprintf(
			"the source holds lineage %s, the destination expects %s", h.Lineage, lineage)}
	}
	log := s.log.With("file_system", key.fileSystem, "replication", key.replication, "peer", peerName(r))
	return &request{r, key, src, log}, nil
}

func badRequest(err error) error { return &refusal{Code: codeBadRequest, Message: err.Error()} }

// forgetUnknown drops what is kept of a replication that was deleted.
func (s *Server) forgetUnknown(key ackKey, err error) {
	if errors.Is(err, ErrUnknownReplication) {
		s.acks.forget(key)
		s.metrics.forget(key.fileSystem)
	}
}

func peerName(r *http.Request) string {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return r.TLS.PeerCertificates[0].Subject.CommonName
	}
	return r.RemoteAddr
}

// simple wraps a call that takes a body of at most limit bytes and answers JSON.
func (s *Server) simple(limit int64, f func(r *request, body []byte) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, hr *http.Request) {
		r, err := s.admit(hr)
		if err != nil {
			writeRefusal(w, refuse(err))
			return
		}
		body, err := s.readBody(w, hr, limit)
		if err != nil {
			writeRefusal(w, refuse(badRequest(err)))
			return
		}
		answer, err := f(r, body)
		if err != nil {
			writeRefusal(w, refuse(err))
			return
		}
		writeJSON(w, http.StatusOK, answer)
	}
}

func (s *Server) readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	rc := http.NewResponseController(w)
	defer s.clock.AfterFunc(stalledRead, func() { _ = rc.SetReadDeadline(time.Unix(1, 0)) })()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, fmt.Errorf("body of the request: %w", err)
	}
	return body, nil
}

// servePosition answers the position after one record.
func (s *Server) servePosition(r *request, _ []byte) (any, error) {
	seq, err := strconv.ParseUint(r.URL.Query().Get(keySeq), 10, 64)
	if err != nil {
		return nil, badRequest(err)
	}
	return r.src.PosAt(seq)
}

// enter counts a stream in; leave must be called when it ends.
func (s *Server) enter() (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams >= s.cfg.Limits.Streams {
		return nil, fmt.Errorf("%w: %d streams are open already", ErrNotReady, s.streams)
	}
	s.streams++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.streams--
	}, nil
}

// takeOver makes the caller the one stream of its replication and ends the one
// before: a destination that connects again has given that up, though this
// side may not know yet.
func (s *Server) takeOver(ctx context.Context, key ackKey) (context.Context, func()) {
	ctx, end := context.WithCancelCause(ctx)
	me := &liveStream{end}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.live[key]; old != nil {
		old.end(&refusal{Code: endSuperseded, Message: "the destination opened a newer stream"})
	}
	s.live[key] = me
	return ctx, func() {
		end(nil)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.live[key] == me {
			delete(s.live, key)
		}
	}
}

func validName(name string) bool {
	if name == "" || len(name) > maxCheckpointName {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
