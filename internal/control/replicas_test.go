package control_test

import (
	"slices"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/control"
)

func TestReplicasAreKnownOverTheEndOfAReplication(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id, other := p.create(p.east, "a"), p.create(p.east, "b")
		dest := p.replicate(p.east, id, p.west, "")
		check := func(when string) {
			t.Helper()
			if got := p.west.Control.Replicas(dest); !slices.Equal(got, []control.Replica{{FileSystemID: id, Region: "us-east-1"}}) {
				t.Errorf("%s, of the destination: %+v", when, got)
			}
			if got := p.east.Control.Replicas(id); !slices.Equal(got, []control.Replica{{FileSystemID: dest, Region: "us-west-2"}}) {
				t.Errorf("%s, of the source: %+v", when, got)
			}
			for _, c := range []struct {
				r    control.Replica
				want string
			}{
				{control.Replica{FileSystemID: id, Region: "us-east-1"}, dest}, {control.Replica{FileSystemID: id}, dest},
				{control.Replica{FileSystemID: id, Region: "eu-west-1"}, ""}, {control.Replica{FileSystemID: other}, ""}, {control.Replica{FileSystemID: dest}, ""},
			} {
				if got := p.west.Control.WithReplica(c.r); got != c.want {
					t.Errorf("%s, %+v is %q here, want %q", when, c.r, got, c.want)
				}
			}
		}
		check("while it runs")
		p.kill(p.east)
		p.delete(p.west, id, "")
		p.eventually("promoted", func() bool { return p.west.Engines.Write(dest, "x") == nil })
		p.start(p.east)
		p.eventually("the source knows", func() bool { return p.status(p.east, id) == control.StatusError })
		check("after the failover")
		if err := p.west.Control.DeleteFileSystem(t.Context(), dest); err != nil {
			t.Fatal(err)
		}
		if got := p.west.Control.WithReplica(control.Replica{FileSystemID: id}); got != "" {
			t.Errorf("of a deleted one: %q", got)
		}
		if got := p.east.Control.Replicas(other); len(got) != 0 {
			t.Errorf("of one that never was replicated: %+v", got)
		}
	})
}
