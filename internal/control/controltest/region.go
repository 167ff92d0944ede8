package controltest

import (
	"context"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// Account is the account of all test regions.
const Account = "123456789012"

// Region is a control plane with its surroundings, which can crash and restart.
type Region struct {
	Name    string
	Log     *Log
	Engines *Engines
	Control *control.Control
	Config  control.Config // for the next Start

	net *Network
}

// NewRegions makes regions that are peers of each other, not yet started.
func NewRegions(seed uint64, names ...string) (*World, *Network, []*Region) {
	net := NewNetwork()
	world := NewWorld(time.Now, net.Cut)
	var all []*Region
	for i, name := range names {
		var others []string
		for _, o := range names {
			if o != name {
				others = append(others, o)
			}
		}
		r := &Region{Name: name, Log: &Log{}, Engines: world.Engines(name), net: net}
		r.Config = control.Config{Region: name, AccountID: Account, Now: time.Now, Rand: NewRand(seed, uint64(i)), Log: r.Log,
			FileSystems: r.Engines, Settings: r.Engines, Peers: net.Peers(name, others...), Subnets: Subnets(name, byte(i)), SecurityGroups: SecurityGroups()}
		net.Attach(name, nil)
		all = append(all, r)
	}
	return world, net, all
}

// Subnets are two subnets of a region in two availability zones; the first one
// has IPv6 addresses, too.
func Subnets(region string, i byte) []control.Subnet {
	return []control.Subnet{
		{ID: "subnet-0000000000000001a", CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 10, i, 0}), 24),
			IPv6CIDR: netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 3: 0x0a, 5: i}), 64), AvailabilityZone: region + "a", AvailabilityZoneID: "az1", VPCID: "vpc-00000001"},
		{ID: "subnet-0000000000000001b", CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 11, i, 0}), 30), AvailabilityZone: region + "b", AvailabilityZoneID: "az2", VPCID: "vpc-00000001"},
	}
}

// SecurityGroups are two groups of the VPC of Subnets, neither its default, and
// one of another VPC.
func SecurityGroups() []control.SecurityGroup {
	return []control.SecurityGroup{
		{ID: "sg-0000000000000001a", Name: "office", Description: "the office", VPCID: "vpc-00000001", Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00:b::/64")}},
		{ID: "sg-0000000000000001b", Name: "nobody", VPCID: "vpc-00000001"},
		{ID: "sg-0000000000000002a", Name: "default", VPCID: "vpc-00000002"},
	}
}

// Start opens the control plane on what the disk has.
func (r *Region) Start(ctx context.Context) error {
	r.Log.Restart()
	r.Engines.Restart()
	c, err := control.New(r.Config)
	if err != nil {
		return err
	}
	r.Control = c
	r.net.Attach(r.Name, c)
	return c.Start(ctx)
}

// Kill ends the region as a crash would.
func (r *Region) Kill() error {
	r.Engines.Kill()
	r.net.Attach(r.Name, nil)
	return r.Control.Close()
}

// lockedRand is a seeded source of randomness for several goroutines.
type lockedRand struct {
	mu  sync.Mutex
	rng *rand.ChaCha8
}

// NewRand gives reproducible randomness.
func NewRand(a, b uint64) io.Reader {
	var seed [32]byte
	seed[0], seed[1], seed[2] = byte(a), byte(a>>8), byte(b)
	return &lockedRand{rng: rand.NewChaCha8(seed)}
}

// Read implements io.Reader.
func (r *lockedRand) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rng.Read(p)
}
