package replica

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"crypto/tls"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

const (
	// silentFor: thirty missed heartbeats mean that the connection is dead.
	silentFor = 3 * time.Second
	// answerWithin bounds the wait for the head of a stream's answer and for
	// small calls; the source may have to look into its journal.
	answerWithin = 10 * time.Second
	// openWithin: opening a checkpoint pins a tree; the call may be repeated.
	openWithin = 2 * time.Minute
	// maxAnswer bounds a JSON answer in bytes: a history of 100,000 epochs.
	maxAnswer = 16 << 20
	// socketBuffer keeps a line of 1 Gbit/s and 30 ms busy.
	socketBuffer = 4 << 20
	// readBuffer gathers small frames; larger reads go past it.
	readBuffer = 64 << 10
)

var errSilent = fmt.Errorf("the source was not heard for %s", silentFor)

// NewHTTPClient makes a client as a Follower wants it: HTTP/1.1, no gzip,
// large socket buffers. conf may be nil for plain HTTP.
func NewHTTPClient(conf *tls.Config) *http.Client {
	dialer := &net.Dialer{Timeout: answerWithin, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			// Must happen before connect to widen the window; the kernel's
			// limit applies, and less is no error.
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, socketBuffer)
		})
	}}
	return &http.Client{Transport: &http.Transport{
		DialContext:         dialer.DialContext,
		TLSClientConfig:     conf,
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{}, // no HTTP/2: one stream, one connection
		TLSHandshakeTimeout: answerWithin,
		DisableCompression:  true,
		ReadBufferSize:      readBuffer,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     time.Minute,
	}}
}

// peer makes the calls to the source.
type peer struct {
	http    *http.Client
	base    string // URL up to and including the replication and "/"
	lineage fs.Lineage
	clock   Clock
	limit   *limiter
	track   *tracker
}

func newPeer(cfg *FollowerConfig, t *tracker) *peer {
	base := strings.TrimSuffix(cfg.BaseURL, "/") + PathPrefix +
		url.PathEscape(cfg.FileSystemID) + "/" + url.PathEscape(cfg.ReplicationID) + "/"
	return &peer{http: cfg.HTTP, base: base, lineage: cfg.Lineage, clock: cfg.Clock,
		limit: newLimiter(cfg.Clock, cfg.BandwidthLimit), track: t}
}

// do sends a request and returns an answer of status 200; others become a
// *refusal. within bounds the wait for the answer's head.
func (p *peer) do(ctx context.Context, cancel context.CancelCauseFunc, within time.Duration, method, call string, q url.Values, body []byte) (*http.Response, error) {
	if q == nil {
		q = url.Values{}
	}
	q.Set(keyLevel, strconv.Itoa(FeatureLevel))
	q.Set(keyLineage, p.lineage.String())
	req, err := http.NewRequestWithContext(ctx, method, p.base+call+"?"+q.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("request to the source: %w", err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	defer p.clock.AfterFunc(within, func() {
		cancel(fmt.Errorf("the source did not answer %s within %s", call, within))
	})()
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s at the source: %w", call, because(ctx, err))
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, parseRefusal(resp)
}

// because replaces the error of a cancelled request by why it was cancelled.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err // without the URL, which holds nothing that helps
	}
	return err
}

func parseRefusal(resp *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	r := &refusal{}
	if err != nil || json.Unmarshal(b, r) != nil || r.Code == "" {
		return fmt.Errorf("the source answers %s, which is none of Holdfast's answers", resp.Status)
	}
	return r
}

// call makes a small request with a JSON answer.
func (p *peer) call(ctx context.Context, within time.Duration, method, call string, q url.Values, body []byte, answer any) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := p.do(ctx, cancel, within, method, call, q, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	defer p.clock.AfterFunc(within, func() { cancel(errSilent) })()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil {
		err = json.Unmarshal(b, answer)
	}
	if err != nil {
		return fmt.Errorf("answer of the source to %s: %w", call, because(ctx, err))
	}
	return nil
}

func (p *peer) ack(ctx context.Context, pos fs.Pos) error {
	var none struct{}
	return p.call(ctx, silentFor, http.MethodPost, callAck, nil, []byte(posText(pos)), &none)
}

func (p *peer) posAt(ctx context.Context, seq uint64) (pos fs.Pos, err error) {
	err = p.call(ctx, answerWithin, http.MethodGet, callPosition, url.Values{keySeq: {strconv.FormatUint(seq, 10)}}, nil, &pos)
	return pos, err
}

func (p *peer) openCheckpoint(ctx context.Context, name string, fork *fs.Pos, writeSet []byte) (Checkpoint, error) {
	q := url.Values{keyName: {name}}
	if fork != nil {
		q.Set(keyFork, posText(*fork))
	}
	return p.checkpoint(ctx, callOpen, name, q, writeSet)
}

// narrow tells the source what a comparison found.
func (p *peer) narrow(ctx context.Context, name string, writeSet []byte) (Checkpoint, error) {
	return p.checkpoint(ctx, callNarrow, name, url.Values{keyName: {name}}, writeSet)
}

// compare carries a query of a comparison.
func (p *peer) compare(ctx context.Context, name string, query []byte) ([]byte, error) {
	var w wireAnswer
	err := p.call(ctx, openWithin, http.MethodPost, callCompare, url.Values{keyName: {name}}, query, &w)
	return w.Answer, err
}

func (p *peer) checkpoint(ctx context.Context, call, name string, q url.Values, body []byte) (Checkpoint, error) {
	var w wireCheckpoint
	if err := p.call(ctx, openWithin, http.MethodPost, call, q, body, &w); err != nil {
		return Checkpoint{}, err
	}
	if w.Name != name || w.Parts < 1 || w.Parts > maxParts {
		return Checkpoint{}, fmt.Errorf("checkpoint %q of %d parts came for %q: the source does not keep to the protocol", w.Name, w.Parts, name)
	}
	return Checkpoint(w), nil
}

func (p *peer) releaseCheckpoint(ctx context.Context, name string) error {
	var none struct{}
	return p.call(ctx, answerWithin, http.MethodPost, callRelease, url.Values{keyName: {name}}, nil, &none)
}

// frames is an open response of frames.
type frames struct {
	frameReader
	ctx    context.Context
	cancel context.CancelCauseFunc
	body   io.Closer
	down   func()
}

// openFrames starts a stream. bulk says that its bytes belong to a transfer.
func (p *peer) openFrames(ctx context.Context, call string, q url.Values, bulk bool) (*frames, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	resp, err := p.do(ctx, cancel, answerWithin, http.MethodGet, call, q, nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if ct := resp.Header.Get("Content-Type"); ct != frameContentType {
		cancel(nil)
		_ = resp.Body.Close()
		return nil, fmt.Errorf("the source answers %s with content of type %.80q", call, ct)
	}
	f := &frames{ctx: ctx, cancel: cancel, body: resp.Body, down: p.track.streamUp()}
	w := &wireReader{ctx: ctx, cancel: cancel, body: resp.Body, p: p, bulk: bulk}
	f.frameReader = frameReader{r: bufio.NewReaderSize(w, readBuffer), dec: sharedDecoder()}
	return f, nil
}

// close ends the stream; a next that runs returns.
func (f *frames) close(why error) {
	f.cancel(why)
	_ = f.body.Close() // the response is given up
	f.down()
}

// next gives frames of records and items as they are; heartbeats go to beat,
// and the last frame becomes an error, which is errComplete if all was sent.
func (f *frames) nextBatch(buf []byte, beat func(heartbeat) error) (frameType, []byte, error) {
	for {
		t, body, err := f.next(buf)
		buf = body
		if err != nil {
			return t, buf, fmt.Errorf("stream of the source: %w", because(f.ctx, noEOF(err)))
		}
		switch t {
		case frameRecords, frameItems:
			return t, buf, nil
		case frameHeartbeat:
			h, err := parseHeartbeat(body)
			if err == nil {
				err = beat(h)
			}
			if err != nil {
				return t, buf, err
			}
		default:
			return t, buf, ended(t, body)
		}
	}
}

func ended(t frameType, body []byte) error {
	n, err := parseNotice(body)
	if err != nil {
		return err
	}
	if t == frameEnd && n.Code == endComplete {
		return errComplete
	}
	return &refusal{Code: n.Code, Message: n.Text}
}

// wireReader reads the body of a stream: it counts, limits the rate, and gives
// up when the source is silent.
type wireReader struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	body   io.Reader
	p      *peer
	bulk   bool
}

func (w *wireReader) Read(b []byte) (int, error) {
	b = b[:w.p.limit.chunk(len(b))]
	w.p.track.readBegins()
	stop := w.p.clock.AfterFunc(silentFor, func() { w.cancel(errSilent) })
	n, err := w.body.Read(b)
	stop()
	w.p.track.readEnds(n, w.bulk)
	w.p.limit.take(w.ctx, n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = because(w.ctx, err)
	}
	return n, err
}
