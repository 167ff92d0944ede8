package replica

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// ask makes a raw request with the usual query, changed by edit.
func (p *pair) ask(method, call string, q url.Values, body []byte) (int, *refusal) {
	p.t.Helper()
	query := url.Values{keyLevel: {"1"}, keyLineage: {testLineage.String()}}
	for k, v := range q {
		query[k] = v
	}
	u := p.web.URL + PathPrefix + testFS + "/" + testReplication + "/" + call + "?" + query.Encode()
	req, err := http.NewRequestWithContext(p.t.Context(), method, u, bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := p.web.Client().Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return resp.StatusCode, nil
	}
	b, err := io.ReadAll(resp.Body)
	r := &refusal{}
	if err != nil || json.Unmarshal(b, r) != nil {
		p.t.Fatalf("%s %s answers %s with %q, %v", method, call, resp.Status, b, err)
	}
	return resp.StatusCode, r
}

func TestRefusalsOfTheServer(t *testing.T) {
	src := newFake(testLineage, 1)
	fill(src, 1, 10)
	src.trim(5)
	p := newPair(t, src, newEmpty(), false)
	p.server.cfg.Limits.WriteSetBytes = 100
	p.server.mux = http.NewServeMux()
	p.server.routes()
	foreign := fs.Pos{Epoch: src.Durable().Epoch, Seq: 8, Chain: fs.Chain{1}}
	for _, c := range []struct {
		name, method, call string
		q                  url.Values
		body               []byte
		status             int
		code               string
		history            bool
	}{
		{"feature level", "GET", callStream, url.Values{keyLevel: {"2"}}, nil, 412, codeLevel, false},
		{"no lineage", "GET", callStream, url.Values{keyLineage: {""}}, nil, 400, codeBadRequest, false},
		{"other lineage", "GET", callStream, url.Values{keyLineage: {fs.Lineage{5}.String()}}, nil, 412, codeLineage, true},
		{"no position", "GET", callStream, nil, nil, 400, codeBadRequest, false},
		{"empty destination", "GET", callStream, url.Values{keyPos: {posText(fs.Pos{})}}, nil, 409, codeBootstrap, true},
		{"unknown position", "GET", callStream, url.Values{keyPos: {posText(foreign)}}, nil, 409, codeDiverged, true},
		{"position of the future", "GET", callStream, url.Values{keyPos: {posText(fs.Pos{Seq: 999})}}, nil, 409, codeDiverged, true},
		{"trimmed position", "GET", callStream, url.Values{keyPos: {posText(fs.Pos{Seq: 2})}}, nil, 409, codeDiverged, true},
		{"ack of an unknown position", "POST", callAck, nil, []byte(posText(foreign)), 409, codeDiverged, false},
		{"ack of nonsense", "POST", callAck, nil, []byte("nonsense"), 400, codeBadRequest, false},
		{"ack too long", "POST", callAck, nil, make([]byte, maxAckBody+1), 400, codeBadRequest, false},
		{"position before the journal", "GET", callPosition, url.Values{keySeq: {"2"}}, nil, 410, codeTrimmed, false},
		{"position of nonsense", "GET", callPosition, url.Values{keySeq: {"-2"}}, nil, 400, codeBadRequest, false},
		{"checkpoint without a name", "POST", callOpen, nil, nil, 400, codeBadRequest, false},
		{"checkpoint name with a slash", "POST", callOpen, url.Values{keyName: {"../x"}}, nil, 400, codeBadRequest, false},
		{"checkpoint name too long", "POST", callOpen, url.Values{keyName: {strings.Repeat("x", 65)}}, nil, 400, codeBadRequest, false},
		{"fork point that is none", "POST", callOpen, url.Values{keyName: {"c"}, keyFork: {posText(foreign)}}, nil, 400, codeBadRequest, false},
		{"write set too large", "POST", callOpen, url.Values{keyName: {"c"}}, make([]byte, 101), 400, codeBadRequest, false},
		{"part that is none", "GET", callItems, url.Values{keyName: {"c"}, keyPart: {"3"}, keyParts: {"3"}}, nil, 400, codeBadRequest, false},
		{"too many parts", "GET", callItems, url.Values{keyName: {"c"}, keyPart: {"3"}, keyParts: {"65"}}, nil, 400, codeBadRequest, false},
		{"cursor of nonsense", "GET", callItems, url.Values{keyName: {"c"}, keyPart: {"0"}, keyParts: {"1"}, keyCursor: {"x"}}, nil, 400, codeBadRequest, false},
		{"release without a name", "POST", callRelease, nil, nil, 400, codeBadRequest, false},
	} {
		status, r := p.ask(c.method, c.call, c.q, c.body)
		if status != c.status || r == nil || r.Code != c.code || (r.History != nil) != c.history || r.Message == "" {
			t.Errorf("%s: %d %+v, want %d %s", c.name, status, r, c.status, c.code)
		}
	}
	if len(src.opened) != 0 {
		t.Errorf("checkpoints %v were opened by bad requests", src.opened)
	}
	if a, ok := p.server.Acked(testFS, testReplication); ok {
		t.Errorf("a bad ack counts: %+v", a)
	}
	if status, r := p.ask("POST", callRelease, url.Values{keyName: {"unknown"}}, nil); status != http.StatusOK {
		t.Errorf("release of an unknown checkpoint: %+v", r)
	}
}

func (p *pair) rawPeer() *peer {
	cfg := p.cfg
	return newPeer(&cfg, newTracker(p.cfg.Clock))
}

// endOf reads a stream to its end and gives the reason.
func endOf(s *frames) error {
	for {
		_, _, err := s.nextBatch(nil, func(heartbeat) error { return nil })
		if err != nil {
			return err
		}
	}
}

func TestNewerStreamTakesOver(t *testing.T) {
	src := newFake(testLineage, 1)
	p := newPair(t, src, newEmpty(), false)
	q := url.Values{keyPos: {posText(src.Durable())}}
	old, err := p.rawPeer().openFrames(t.Context(), callStream, q, false)
	if err != nil {
		t.Fatal(err)
	}
	defer old.close(nil)
	young, err := p.rawPeer().openFrames(t.Context(), callStream, q, false)
	if err != nil {
		t.Fatal(err)
	}
	var r *refusal
	if err := endOf(old); !errors.As(err, &r) || r.Code != endSuperseded {
		t.Errorf("the old stream ended with %v", err)
	}
	p.server.Close()
	if err := endOf(young); !errors.As(err, &r) || r.Code != endClosing {
		t.Errorf("the young stream ended with %v", err)
	}
	young.close(nil)
}

func TestStreamsAreLimited(t *testing.T) {
	src := newFake(testLineage, 1)
	p := newPair(t, src, newEmpty(), false)
	p.server.cfg.Limits.Streams = 1
	q := url.Values{keyPos: {posText(src.Durable())}}
	s, err := p.rawPeer().openFrames(t.Context(), callStream, q, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.rawPeer().openFrames(t.Context(), callStream, q, false); !errors.Is(err, ErrNotReady) {
		t.Errorf("a second stream: %v", err)
	}
	s.close(nil)
	p.f = &Follower{cfg: p.cfg, track: newTracker(p.cfg.Clock)}
	p.until("the place is free again", func() bool {
		s, err := p.rawPeer().openFrames(t.Context(), callStream, q, false)
		if err != nil {
			return false
		}
		s.close(nil)
		return true
	})
}

// A journal that breaks is told as an error, after what was good before it.
type breaking struct{ *fakeFS }

type breakingRecords struct {
	Records
	left int
}

func (b breaking) Records(after uint64) (Records, error) {
	r, err := b.fakeFS.Records(after)
	return &breakingRecords{r, 3}, err
}

func (b *breakingRecords) Next(ctx context.Context) (*fs.Record, []byte, error) {
	if b.left == 0 {
		return nil, nil, &fs.CorruptionError{File: "segment-5", Offset: 77, Detail: "bad"}
	}
	b.left--
	return b.Records.Next(ctx)
}

func (b *breakingRecords) TryNext() (*fs.Record, []byte, bool, error) {
	if b.left == 0 {
		return nil, nil, false, &fs.CorruptionError{File: "segment-5", Offset: 77, Detail: "bad"}
	}
	b.left--
	return b.Records.TryNext()
}

func TestCorruptionAtTheSourceIsToldAfterTheGoodPrefix(t *testing.T) {
	src := newFake(testLineage, 1)
	p := newPair(t, src, newEmpty(), false)
	at := src.Durable()
	fill(src, 5, 10)
	p.lookup.Store(&lookupAnswer{src: breaking{src}})
	s, err := p.rawPeer().openFrames(t.Context(), callStream, url.Values{keyPos: {posText(at)}}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close(nil)
	typ, body, err := s.nextBatch(nil, func(heartbeat) error { return nil })
	if err != nil || typ != frameRecords {
		t.Fatalf("type %d, %v", typ, err)
	}
	recs, err := parseRecords(body, nil)
	if err != nil || len(recs) != 3 {
		t.Errorf("%d records, %v; want the 3 good ones", len(recs), err)
	}
	var r *refusal
	if err := endOf(s); !errors.As(err, &r) || r.Code != codeInternal || !strings.Contains(r.Message, "segment-5") {
		t.Errorf("the stream ended with %v", err)
	}
}

// hostile answers whatever it is told to.
func hostile(t *testing.T, answer func(w http.ResponseWriter)) (*Follower, *fakeFS, func()) {
	t.Helper()
	dest := newFake(testLineage, 1)
	fill(dest, 6, 5)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
	client := NewHTTPClient(nil)
	f, err := NewFollower(FollowerConfig{Dest: dest, HTTP: client, BaseURL: web.URL, FileSystemID: testFS,
		ReplicationID: testReplication, Lineage: testLineage, Clock: newQuickClock()})
	if err != nil {
		t.Fatal(err)
	}
	return f, dest, func() {
		client.CloseIdleConnections()
		web.Close()
	}
}

func TestHostileSourceDoesNoHarm(t *testing.T) {
	stream := func(frames ...[]byte) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", frameContentType)
			for _, f := range frames {
				_, _ = w.Write(f)
			}
		}
	}
	text := func(status int, s string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, s)
		}
	}
	_, records := sampleRecords(t)
	_, items := sampleItems(t)
	for name, answer := range map[string]func(http.ResponseWriter){
		"a web page":            text(200, "<html>"),
		"an error page":         text(502, "<html>bad gateway"),
		"JSON of another kind":  text(409, `{"hello":1}`),
		"diverged, bad history": text(409, `{"code":"diverged","message":"x","history":{"lineage":"x"}}`),
		"diverged, empty":       text(409, `{"code":"diverged","message":"x","history":{"lineage":"`+testLineage.String()+`"}}`),
		"nothing":               stream(),
		"garbage":               stream(bytes.Repeat([]byte("garbage"), 100)),
		"huge length":           stream([]byte{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}),
		"items":                 stream(rawFrame(frameItems, items)),
		"foreign records":       stream(rawFrame(frameRecords, records)),
		"an empty error":        stream(frameOf(frameError, 0, nil)),
		"all was sent":          stream(rawFrame(frameEnd, appendNotice(nil, notice{endComplete, ""}))),
	} {
		t.Run(name, func(t *testing.T) {
			f, dest, stop := hostile(t, answer)
			defer stop()
			before := dest.Durable()
			if err := f.session(t.Context()); err == nil {
				t.Error("the session ended well")
			}
			if dest.Durable() != before {
				t.Errorf("the destination moved to %s", dest.Durable())
			}
		})
	}
}

func TestMetricsOfBothSides(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	src, dest := newFake(testLineage, 1), newEmpty()
	fill(src, 1, 10)
	p := newPair(t, src, dest, false)
	p.server.metrics = newServerMetrics(reg)
	p.cfg.Registerer = reg
	p.run()
	p.untilEqual()
	if err := p.server.WaitAcked(t.Context(), testFS, testReplication, src.Durable().Seq); err != nil {
		t.Fatal(err)
	}
	p.until("connected", func() bool { return p.f.Status().Connected })
	got := gather(t, reg)
	for name, ok := range map[string]func(float64) bool{
		"holdfast_replication_lag_seconds":          func(v float64) bool { return v >= 0 },
		"holdfast_replication_lag_bytes":            func(v float64) bool { return v == 0 },
		"holdfast_replication_lag_records":          func(v float64) bool { return v == 0 },
		"holdfast_replication_connected":            func(v float64) bool { return v == 1 },
		"holdfast_replication_bytes_received_total": func(v float64) bool { return v > 0 },
		"holdfast_replication_transfer_bytes_total": func(v float64) bool { return v > 0 },
		"holdfast_replication_sent_bytes_total":     func(v float64) bool { return v > 0 },
		"holdfast_replication_acked_sequence":       func(v float64) bool { return v == float64(src.Durable().Seq) },
	} {
		if v, there := got[name]; !there || !ok(v) {
			t.Errorf("%s is %v (there: %v)", name, v, there)
		}
	}
	p.halt()
	if _, there := gather(t, reg)["holdfast_replication_connected"]; there {
		t.Error("a follower that has ended is still measured")
	}
	p.run() // a new one may take its place
	p.until("measured again", func() bool { _, there := gather(t, reg)["holdfast_replication_connected"]; return there })
}

// gather gives the value of each metric of the source under test.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if hasLabel(m, labelFileSystem, testFS) || hasLabel(m, labelSource, testFS) {
				values[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return values
}

func hasLabel(m *dto.Metric, name, value string) bool {
	for _, l := range m.GetLabel() {
		if l.GetName() == name && l.GetValue() == value {
			return true
		}
	}
	return false
}

func TestFollowerConfigIsChecked(t *testing.T) {
	good := FollowerConfig{Dest: newEmpty(), HTTP: http.DefaultClient, BaseURL: "http://x", FileSystemID: "fs-1", ReplicationID: "r", Lineage: testLineage}
	if _, err := NewFollower(good); err != nil {
		t.Errorf("good: %v", err)
	}
	for name, spoil := range map[string]func(*FollowerConfig){
		"destination": func(c *FollowerConfig) { c.Dest = nil },
		"client":      func(c *FollowerConfig) { c.HTTP = nil },
		"URL":         func(c *FollowerConfig) { c.BaseURL = "" },
		"file system": func(c *FollowerConfig) { c.FileSystemID = "" },
		"replication": func(c *FollowerConfig) { c.ReplicationID = "" },
		"lineage":     func(c *FollowerConfig) { c.Lineage = fs.Lineage{} },
	} {
		bad := good
		spoil(&bad)
		if _, err := NewFollower(bad); err == nil {
			t.Errorf("a configuration without %s was taken", name)
		}
	}
}

// A destination that is there but takes nothing must not hold the source for ever.
func TestDestinationThatReadsNothingIsLetGo(t *testing.T) {
	src := newFake(testLineage, 1)
	p := newPair(t, src, newEmpty(), false)
	at := src.Durable()
	for i := range 24 {
		payload := make([]byte, fs.MaxWrite)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(payload)
		src.put(1, payload)
	}
	conn, err := net.Dial("tcp", p.web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET %s%s/%s/stream?level=1&lineage=%s&pos=%s HTTP/1.1\r\nHost: x\r\n\r\n",
		PathPrefix, testFS, testReplication, testLineage, posText(at))
	if err != nil {
		t.Fatal(err)
	}
	streams := func() int {
		p.server.mu.Lock()
		defer p.server.mu.Unlock()
		return p.server.streams
	}
	p.f = &Follower{cfg: p.cfg, track: newTracker(p.cfg.Clock)}
	p.until("the stream begins", func() bool { return streams() == 1 })
	p.until("the stream is given up", func() bool { return streams() == 0 })
}
