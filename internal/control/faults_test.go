package control_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/controltest"
)

// TestEveryCallFailsOnce tells the story with one kind of call between the
// regions not delivered, and delivered with its answer lost; then the network
// heals and both regions must come to rest.
func TestEveryCallFailsOnce(t *testing.T) {
	for _, method := range []string{"prepare-destination", "abandon-destination", "replication-status", "begin-delete", "finish-delete", "replication-deleted", "replication-settings"} {
		for _, fault := range []controltest.Fault{controltest.Refused, controltest.Silent, controltest.AnswerLost} {
			t.Run(fmt.Sprintf("%s fault=%d", method, fault), func(t *testing.T) {
				inTwoRegions(t, func(t *testing.T, p *pair) {
					p.net.SetMethod(method, fault)
					p.story()
					p.net.SetMethod(method, controltest.Up)
					p.atRest()
				})
			})
		}
	}
}

// TestPartitionAtAnyMoment cuts everything for a minute at each second of the story.
func TestPartitionAtAnyMoment(t *testing.T) {
	for _, fault := range []controltest.Fault{controltest.Refused, controltest.Silent} {
		for second := range 14 {
			t.Run(fmt.Sprintf("fault=%d second=%d", fault, second), func(t *testing.T) {
				inTwoRegions(t, func(t *testing.T, p *pair) {
					healed := make(chan struct{})
					go func() {
						defer close(healed)
						time.Sleep(time.Duration(second)*time.Second + time.Millisecond)
						p.net.Set(fault)
						time.Sleep(time.Minute)
						p.net.Set(controltest.Up)
					}()
					p.story()
					<-healed
					p.atRest()
				})
			})
		}
	}
}

// TestRestartedRegionsOfARunningReplicationGoOn restarts each side at rest.
func TestRestartedRegionsOfARunningReplicationGoOn(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		dst := p.replicate(p.east, src, p.west, "")
		for _, r := range []*controltest.Region{p.west, p.east} {
			p.kill(r)
			time.Sleep(10 * time.Second)
			p.start(r)
			p.eventually("ENABLED after the restart of "+r.Name, func() bool {
				return p.status(p.east, src) == control.StatusEnabled && p.status(p.west, src) == control.StatusEnabled &&
					p.message(p.east, src) == "" && p.message(p.west, src) == ""
			})
			p.eventually("the source takes changes", func() bool { return p.east.Engines.Write(src, r.Name) == nil })
		}
		p.eventually("they arrive", func() bool {
			p.west.Engines.Stat(dst)
			return len(p.west.Engines.Words(dst)) == 2
		})
	})
}
