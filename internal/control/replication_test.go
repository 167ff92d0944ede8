package control_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/controltest"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

func TestReplicationFollowsAndIsSeenInBothRegions(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		p.write(p.east, src, "one")
		dst := p.replicate(p.east, src, p.west, "")
		if got := p.west.Engines.Words(dst); !slices.Equal(got, []string{"one"}) {
			t.Errorf("the destination has %q", got)
		}
		if err := p.west.Engines.Write(dst, "x"); !errors.Is(err, fs.ErrROFS) {
			t.Errorf("a write to the destination: %v, want read-only", err)
		}
		if got := p.protection(p.west, dst); got != control.ProtectionReplicating {
			t.Errorf("protection of the destination is %s", got)
		}
		for _, r := range []*controltest.Region{p.east, p.west} {
			for _, ref := range []string{src, dst, ""} {
				all, err := r.Control.DescribeReplications(ref)
				if err != nil || len(all) != 1 || all[0].SourceID != src || all[0].DestinationID != dst ||
					all[0].SourceRegion != "us-east-1" || all[0].DestRegion != "us-west-2" {
					t.Errorf("describe %q in %s: %+v, %v", ref, r.Name, all, err)
				}
			}
		}
		p.eventually("the source knows when was replicated last", func() bool {
			all, _ := p.east.Control.DescribeReplications(src)
			return !all[0].LastReplicated.IsZero()
		})
	})
}

func TestDeletionWithTheSourceAliveLosesNothingAndLeavesTwoWriters(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		dst := p.replicate(p.east, src, p.west, "")
		p.world.Pause(true)
		p.write(p.east, src, "late")
		go func() {
			time.Sleep(2 * time.Second)
			p.world.Pause(false)
		}()
		p.delete(p.west, src, "")
		p.write(p.west, dst, "mine")
		if got := p.west.Engines.Words(dst); !slices.Equal(got, []string{"late", "mine"}) {
			t.Errorf("the promoted file system has %q", got)
		}
		if got := p.protection(p.west, dst); got != control.ProtectionEnabled {
			t.Errorf("protection after the promotion is %s", got)
		}
		p.eventually("the source's configuration is gone", func() bool { return p.status(p.east, src) == control.CodeReplicationNotFound })
		p.write(p.east, src, "also mine")
	})
}

func TestTerraformDeletesInBothRegions(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		p.replicate(p.east, src, p.west, "")
		p.delete(p.west, src, "")
		if err := p.east.Control.DeleteReplication(t.Context(), src, ""); err != nil && codeOf(err) != control.CodeReplicationNotFound {
			t.Errorf("the deletion in the source's region: %v", err)
		}
		for _, r := range []*controltest.Region{p.east, p.west} {
			p.eventually("gone in "+r.Name, func() bool { return p.status(r, src) == control.CodeReplicationNotFound })
			wantCode(t, "deleting again in "+r.Name, r.Control.DeleteReplication(t.Context(), src, ""), control.CodeReplicationNotFound)
		}
	})
}

func TestDrainGivesUpAfterFiveSecondsWithoutProgress(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		dst := p.replicate(p.east, src, p.west, "")
		p.world.Pause(true)
		p.write(p.east, src, "never arrives")
		began := time.Now()
		p.delete(p.west, src, "")
		if took := time.Since(began); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("the deletion took %s", took)
		}
		p.write(p.west, dst, "mine")
	})
}

func TestDeletionDuringAResyncKeepsTheOldContent(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src, other := p.create(p.east, "a"), p.create(p.west, "b")
		p.write(p.east, src, "new")
		for _, word := range []string{"old", "and", "longer"} {
			p.write(p.west, other, word)
		}
		if _, err := p.west.Control.UpdateProtection(other, control.ProtectionDisabled); err != nil {
			t.Fatal(err)
		}
		p.world.Pause(true)
		p.replicate(p.east, src, p.west, other)
		began := time.Now()
		p.delete(p.west, src, "")
		if took := time.Since(began); took < 5*time.Second {
			t.Errorf("a longer old history was taken for the source's after %s", took)
		}
		if got := p.west.Engines.Words(other); !slices.Equal(got, []string{"old", "and", "longer"}) {
			t.Errorf("it has %q", got)
		}
		p.write(p.west, other, "mine")
	})
}

func TestSourceIsReadableOnceItsDestinationIsAMember(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		p.east.Engines.Fail("AddMember", errors.New("disk"))
		_, err := p.east.Control.CreateReplication(t.Context(), src, control.DestinationRequest{Region: "us-west-2"})
		wantCode(t, "a destination that cannot be registered", err, control.CodeInternal)
		p.east.Engines.Fail("AddMember", nil)
		p.eventually("the west is empty again", func() bool { return len(p.west.Engines.IDs()) == 0 })
		dst := p.replicate(p.east, src, p.west, "")
		up := p.west.Engines.Upstream(dst)
		if !p.east.Control.IsSource(src, up.Replication) || p.east.Control.IsSource(src, "other") || p.west.Control.IsSource(dst, up.Replication) {
			t.Error("IsSource is wrong")
		}
		p.delete(p.east, src, control.DeleteLocalOnly)
		if p.east.Control.IsSource(src, up.Replication) {
			t.Error("it is a source after the deletion")
		}
	})
}

func TestFailoverAsksNoOtherRegion(t *testing.T) {
	for _, mode := range []controltest.Fault{controltest.Refused, controltest.Silent} {
		inTwoRegions(t, func(t *testing.T, p *pair) {
			src := p.create(p.east, "a")
			p.write(p.east, src, "one")
			dst := p.replicate(p.east, src, p.west, "")
			p.net.Set(mode)
			p.kill(p.east)
			time.Sleep(3 * time.Second)
			began := time.Now()
			p.delete(p.west, src, "")
			if took := time.Since(began); took != 0 {
				t.Errorf("the failover waited %s", took)
			}
			p.write(p.west, dst, "two")
			if n := p.net.Calls("begin-delete"); n != 0 {
				t.Errorf("the dead source was asked %d times", n)
			}
			p.net.Set(controltest.Up)
			p.start(p.east)
		})
	}
}

// failedOver kills the source's region, promotes the destination, and brings
// the old primary back.
func (p *pair) failedOver() (src, dst string) {
	p.t.Helper()
	src = p.create(p.east, "a")
	p.write(p.east, src, "shared")
	dst = p.replicate(p.east, src, p.west, "")
	p.world.Pause(true)
	p.write(p.east, src, "lost")
	p.kill(p.east)
	p.world.Pause(false)
	p.delete(p.west, src, "")
	p.write(p.west, dst, "new")
	p.start(p.east)
	p.eventually("the old primary knows", func() bool { return p.status(p.east, src) == control.StatusError })
	return src, dst
}

func TestOldPrimaryStaysReadOnlyAfterFailover(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src, dst := p.failedOver()
		// Its status is told a moment before its role changes: until then it waits.
		p.eventually("the old primary refuses changes", func() bool {
			err := p.east.Engines.Write(src, "x")
			if err == nil {
				t.Fatal("the old primary took a change")
			}
			return errors.Is(err, fs.ErrROFS)
		})
		text := p.message(p.east, src)
		for _, want := range []string{dst, "DeleteReplicationConfiguration", "DISABLED", "CreateReplicationConfiguration"} {
			if !strings.Contains(text, want) {
				t.Errorf("the message lacks %q: %s", want, text)
			}
		}
		wantCode(t, "replicating it again", func() error {
			_, err := p.east.Control.CreateReplication(t.Context(), src, control.DestinationRequest{Region: "us-west-2"})
			return err
		}(), control.CodeConflict)
		p.kill(p.east)
		p.start(p.east)
		if err := p.east.Engines.Write(src, "x"); !errors.Is(err, fs.ErrROFS) {
			t.Errorf("a write after another restart: %v", err)
		}
	})
}

func TestSupersededSourceBecomesAFileSystemOfItsOwn(t *testing.T) {
	for _, mode := range []string{control.DeleteLocalOnly, control.DeleteAll} {
		inTwoRegions(t, func(t *testing.T, p *pair) {
			src, _ := p.failedOver()
			p.delete(p.east, src, mode)
			p.write(p.east, src, "mine")
			wantCode(t, "deleting again", p.east.Control.DeleteReplication(t.Context(), src, mode), control.CodeReplicationNotFound)
		})
	}
}

func TestFailbackReturnsToTheFirstDirection(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src, dst := p.failedOver()
		back := func() error {
			_, err := p.west.Control.CreateReplication(t.Context(), dst, control.DestinationRequest{Region: "us-east-1", FileSystemID: src})
			return err
		}
		wantCode(t, "taking over a protected file system", back(), control.CodeBadRequest)
		if _, err := p.east.Control.UpdateProtection(src, control.ProtectionDisabled); err != nil {
			t.Fatal(err)
		}
		p.replicate(p.west, dst, p.east, src)
		p.eventually("the old primary has the new history", func() bool {
			p.east.Engines.Stat(src)
			return slices.Equal(p.east.Engines.Words(src), []string{"shared", "new"})
		})
		_, err := p.east.Control.UpdateProtection(src, control.ProtectionDisabled)
		wantCode(t, "changing the protection of a destination", err, control.CodeReplicationExists)
		p.delete(p.east, dst, "")
		p.eventually("gone in the west", func() bool { return p.status(p.west, dst) == control.CodeReplicationNotFound })
		if _, err := p.west.Control.UpdateProtection(dst, control.ProtectionDisabled); err != nil {
			t.Fatal(err)
		}
		p.replicate(p.east, src, p.west, dst)
		p.write(p.east, src, "home")
		if err := p.west.Engines.Write(dst, "x"); !errors.Is(err, fs.ErrROFS) {
			t.Errorf("a write to the destination: %v", err)
		}
	})
}

func TestDeletionFromTheSourceDrainsAndEndsBothSides(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		dst := p.replicate(p.east, src, p.west, "")
		p.write(p.east, src, "last")
		p.delete(p.east, src, "")
		for _, r := range []*controltest.Region{p.east, p.west} {
			if got := p.status(r, src); got != control.CodeReplicationNotFound {
				t.Errorf("status in %s: %s", r.Name, got)
			}
		}
		if got := p.west.Engines.Words(dst); !slices.Equal(got, []string{"last"}) {
			t.Errorf("the destination has %q", got)
		}
		p.write(p.east, src, "e")
		p.write(p.west, dst, "w")
	})
}

func TestDeletionFromTheSourceWaitsForADeadDestination(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		p.replicate(p.east, src, p.west, "")
		p.kill(p.west)
		p.delete(p.east, src, "")
		if got := p.status(p.east, src); got != control.StatusDeleting {
			t.Errorf("status %s", got)
		}
		if text := p.message(p.east, src); !strings.Contains(text, control.DeleteLocalOnly) {
			t.Errorf("the message does not tell the way out: %s", text)
		}
		p.start(p.west)
		p.eventually("it ends by itself", func() bool { return p.status(p.east, src) == control.CodeReplicationNotFound })
	})
}

func TestLocalDeletionAtTheSourceLeavesAnOrphan(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		dst := p.replicate(p.east, src, p.west, "")
		p.net.Set(controltest.Silent)
		began := time.Now()
		p.delete(p.east, src, control.DeleteLocalOnly)
		if took := time.Since(began); took != 0 {
			t.Errorf("a local deletion waited %s", took)
		}
		p.net.Set(controltest.Up)
		p.eventually("the destination notices", func() bool { return p.status(p.west, src) == control.StatusError })
		if err := p.west.Engines.Write(dst, "x"); !errors.Is(err, fs.ErrROFS) {
			t.Errorf("a write to the orphan: %v", err)
		}
		p.delete(p.west, src, "")
		p.write(p.west, dst, "mine")
	})
}

func TestLocalDeletionAtTheDestinationSupersedesTheSource(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		dst := p.replicate(p.east, src, p.west, "")
		p.delete(p.west, dst, control.DeleteLocalOnly)
		p.write(p.west, dst, "mine")
		p.eventually("the source is superseded", func() bool { return errors.Is(p.east.Engines.Write(src, "x"), fs.ErrROFS) })
	})
}

func TestSourceWaitsUndecidedUntilItsPeerAnswers(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		p.replicate(p.east, src, p.west, "")
		p.kill(p.east)
		p.net.Set(controltest.Silent)
		p.start(p.east)
		time.Sleep(time.Hour)
		if err := p.east.Engines.Write(src, "x"); !errors.Is(err, fs.ErrDelay) {
			t.Errorf("a write while undecided: %v", err)
		}
		if text := p.message(p.east, src); !strings.Contains(text, control.DeleteLocalOnly) {
			t.Errorf("the message does not tell the way out: %s", text)
		}
		p.net.Set(controltest.Up)
		p.eventually("it is a writer again", func() bool { return p.east.Engines.Write(src, "x") == nil })
		p.eventually("ENABLED again", func() bool { return p.status(p.east, src) == control.StatusEnabled })
	})
}

func TestPolicyServeAcceptsChangesWithoutAnAnswer(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		p.replicate(p.east, src, p.west, "")
		p.kill(p.east)
		p.kill(p.west)
		p.east.Config.OnPeerUnreachable = control.Serve
		began := time.Now()
		p.start(p.east)
		p.eventually("it serves", func() bool { return p.east.Engines.Write(src, "x") == nil })
		if took := time.Since(began); took < control.ServeAfter {
			t.Errorf("it served after %s", took)
		}
		p.start(p.west)
	})
}

func TestUnreachablePeerChangesNothing(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		p.net.Set(controltest.Refused)
		_, err := p.east.Control.CreateReplication(t.Context(), src, control.DestinationRequest{Region: "us-west-2"})
		wantCode(t, "creating without peer", err, control.CodeInternal)
		wantCode(t, "describing it", func() error { _, err := p.east.Control.DescribeReplications(src); return err }(), control.CodeReplicationNotFound)
		p.net.Set(controltest.Up)
		p.replicate(p.east, src, p.west, "")
	})
}

func TestLostAnswerOfAPreparationIsCleanedUp(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		p.net.SetMethod("prepare-destination", controltest.AnswerLost)
		_, err := p.east.Control.CreateReplication(t.Context(), src, control.DestinationRequest{Region: "us-west-2"})
		wantCode(t, "creating with a lost answer", err, control.CodeInternal)
		p.eventually("the west is empty again", func() bool { return len(p.west.Engines.IDs()) == 0 })
		p.eventually("its catalog too", func() bool {
			all, _ := p.west.Control.DescribeFileSystems("", "")
			return len(all) == 0
		})
	})
}

func TestLostAnswerGivesAnExistingFileSystemBack(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src, other := p.create(p.east, "a"), p.create(p.west, "b")
		if _, err := p.west.Control.UpdateProtection(other, control.ProtectionDisabled); err != nil {
			t.Fatal(err)
		}
		p.write(p.west, other, "own")
		p.net.SetMethod("prepare-destination", controltest.AnswerLost)
		_, err := p.east.Control.CreateReplication(t.Context(), src, control.DestinationRequest{Region: "us-west-2", FileSystemID: other})
		wantCode(t, "creating with a lost answer", err, control.CodeInternal)
		p.eventually("it is writable again", func() bool { return p.west.Engines.Write(other, "more") == nil })
		if got := p.west.Engines.Words(other); got[0] != "own" {
			t.Errorf("its content is %q", got)
		}
		p.eventually("the configuration is gone", func() bool { return p.status(p.west, other) == control.CodeReplicationNotFound })
	})
}

func TestDestinationThatWasNeverWholeIsDiscarded(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		p.world.Pause(true)
		src := p.create(p.east, "a")
		dst := p.replicate(p.east, src, p.west, "")
		p.delete(p.west, src, "")
		all, err := p.west.Control.DescribeFileSystems(dst, "")
		if err != nil || all[0].State != control.Failed || !strings.Contains(all[0].Message, "Delete it") {
			t.Fatalf("the destination is %+v, %v", all, err)
		}
		_, err = p.west.Control.CreateMountTarget(t.Context(), control.CreateMountTargetRequest{FileSystemID: dst, SubnetID: "subnet-0000000000000001a"})
		wantCode(t, "a mount target of it", err, control.CodeIncorrectState)
		p.eventually("the source's configuration is gone", func() bool { return p.status(p.east, src) == control.CodeReplicationNotFound })
		p.write(p.east, src, "goes on")
		if err := p.west.Control.DeleteFileSystem(t.Context(), dst); err != nil {
			t.Error(err)
		}
		if got := p.west.Engines.IDs(); len(got) != 0 {
			t.Errorf("left on the disk: %q", got)
		}
	})
}

func TestReplicationIsRefused(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src, busy, own := p.create(p.east, "a"), p.create(p.east, "b"), p.create(p.west, "c")
		dst := p.replicate(p.east, busy, p.west, "")
		for _, c := range []struct {
			name, source string
			dest         control.DestinationRequest
			code         string
		}{
			{"no region", src, control.DestinationRequest{}, control.CodeBadRequest},
			{"same region", src, control.DestinationRequest{Region: "us-east-1"}, control.CodeBadRequest},
			{"unknown region", src, control.DestinationRequest{Region: "eu-west-1"}, control.CodeBadRequest},
			{"other account", src, control.DestinationRequest{FileSystemID: "arn:aws:elasticfilesystem:us-west-2:999999999999:file-system/" + own}, control.CodeBadRequest},
			{"region and ARN differ", src, control.DestinationRequest{Region: "us-west-2", FileSystemID: "arn:aws:elasticfilesystem:eu-west-1:123456789012:file-system/" + own}, control.CodeBadRequest},
			{"protected", src, control.DestinationRequest{Region: "us-west-2", FileSystemID: own}, control.CodeBadRequest},
			{"not there", src, control.DestinationRequest{Region: "us-west-2", FileSystemID: "fs-00000000000000000"}, control.CodeFileSystemNotFound},
			{"a destination already", src, control.DestinationRequest{Region: "us-west-2", FileSystemID: dst}, control.CodeBadRequest},
			{"no source", "fs-00000000000000000", control.DestinationRequest{Region: "us-west-2"}, control.CodeFileSystemNotFound},
			{"no id", "x", control.DestinationRequest{Region: "us-west-2"}, control.CodeBadRequest},
			{"source is replicated", busy, control.DestinationRequest{Region: "us-west-2"}, control.CodeConflict},
		} {
			_, err := p.east.Control.CreateReplication(t.Context(), c.source, c.dest)
			wantCode(t, c.name, err, c.code)
		}
		wantCode(t, "deleting a source", p.east.Control.DeleteFileSystem(t.Context(), busy), control.CodeFileSystemInUse)
		wantCode(t, "deleting a destination", p.west.Control.DeleteFileSystem(t.Context(), dst), control.CodeFileSystemInUse)
		wantCode(t, "a bad mode", p.east.Control.DeleteReplication(t.Context(), busy, "EVERYTHING"), control.CodeBadRequest)
	})
}

func TestPoisonedStreamShowsAsErrorInBothRegions(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		dst := p.replicate(p.east, src, p.west, "")
		p.west.Engines.Poison(dst, "record 7 cannot be applied")
		p.eventually("ERROR in both", func() bool {
			return p.status(p.east, src) == control.StatusError && p.status(p.west, src) == control.StatusError
		})
		if text := p.message(p.east, src); text != "record 7 cannot be applied" {
			t.Errorf("the source says %q", text)
		}
	})
}
