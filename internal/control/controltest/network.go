package controltest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// Fault is what happens to the calls between regions.
type Fault int

// The faults.
const (
	Up         Fault = iota
	Refused          // not delivered; fails at once
	Silent           // not delivered; fails when the caller gives up
	AnswerLost       // delivered; the answer is lost
)

// Network carries calls between control planes, as JSON.
type Network struct {
	mu      sync.Mutex
	planes  map[string]*control.Control
	fault   Fault
	methods map[string]Fault
	calls   map[string]int
}

// NewNetwork makes a network that is up.
func NewNetwork() *Network {
	return &Network{planes: map[string]*control.Control{}, methods: map[string]Fault{}, calls: map[string]int{}}
}

// Attach makes a control plane reachable; nil makes the region dead.
func (n *Network) Attach(region string, c *control.Control) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.planes[region] = c
}

// Set sets the fault of all calls, and of the streams.
func (n *Network) Set(f Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fault = f
}

// SetMethod sets the fault of one method's calls; Up takes it back.
func (n *Network) SetMethod(method string, f Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.methods[method] = f
}

// Calls tells how often a method was tried.
func (n *Network) Calls(method string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls[method]
}

// Cut reports whether streams are cut.
func (n *Network) Cut(_, _ string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fault == Refused || n.fault == Silent
}

// Peers is the network as one region sees it.
func (n *Network) Peers(region string, others ...string) control.Peers {
	slices.Sort(others)
	return &peers{n, region, others}
}

type peers struct {
	n      *Network
	from   string
	others []string
}

func (p *peers) Regions() []string { return slices.Clone(p.others) }

func (p *peers) Call(ctx context.Context, region, method string, req, resp any) error {
	p.n.mu.Lock()
	p.n.calls[method]++
	fault := max(p.n.fault, p.n.methods[method])
	plane := p.n.planes[region]
	known := slices.Contains(slices.Collect(maps.Keys(p.n.planes)), region)
	p.n.mu.Unlock()
	switch {
	case !known:
		return fmt.Errorf("no address of region %s", region)
	case fault == Refused || plane == nil:
		return fmt.Errorf("dial region %s: connection refused", region)
	case fault == Silent:
		<-ctx.Done()
		return fmt.Errorf("dial region %s: %w", region, ctx.Err())
	}
	return p.deliver(ctx, plane, fault, method, req, resp)
}

func (p *peers) deliver(ctx context.Context, plane *control.Control, fault Fault, method string, req, resp any) error {
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	result, err := plane.HandlePeer(ctx, p.from, method, body)
	if fault == AnswerLost {
		return fmt.Errorf("read the answer: connection reset")
	}
	if err != nil {
		return err
	}
	answer, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, resp)
}
