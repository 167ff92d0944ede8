package control_test

import (
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/controltest"
)

// tags are those of a file system, as one text.
func (p *pair) tags(r *controltest.Region, id string) (text string) {
	p.t.Helper()
	all, err := r.Control.ListTags(id)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, t := range all {
		text += t.Key + "=" + t.Value + " "
	}
	return text
}

func (p *pair) tag(r *controltest.Region, id, key, value string) {
	p.t.Helper()
	if err := r.Control.TagResource(p.t.Context(), id, []control.Tag{{Key: key, Value: value}}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) awaitTags(r *controltest.Region, id, want string) {
	p.t.Helper()
	for range 3000 {
		if p.tags(r, id) == want {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.t.Fatalf("the tags of %s in %s are %q, want %q", id, r.Name, p.tags(r, id), want)
}

func TestTagsFollowToTheDestination(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		p.tag(p.east, src, "Name", "home")
		dst := p.replicate(p.east, src, p.west, "")
		p.awaitTags(p.west, dst, "Name=home ")
		p.tag(p.east, src, "team", "storage")
		p.tag(p.east, src, "Name", "away")
		p.awaitTags(p.west, dst, "Name=away team=storage ")

		p.tag(p.west, dst, "team", "west") // its own from now on
		p.tag(p.west, dst, "x", "y")
		if err := p.west.Control.UntagResource(t.Context(), dst, []string{"Name"}); err != nil {
			t.Fatal(err)
		}
		p.awaitTags(p.west, dst, "Name=away team=west x=y ")
		if err := p.east.Control.UntagResource(t.Context(), src, []string{"Name", "team"}); err != nil {
			t.Fatal(err)
		}
		p.awaitTags(p.west, dst, "team=west x=y ")

		p.kill(p.west)
		p.tag(p.east, src, "while", "down")
		p.start(p.west)
		p.awaitTags(p.west, dst, "team=west while=down x=y ")
		p.delete(p.west, src, "")
		p.tag(p.east, src, "after", "failover")
		time.Sleep(time.Minute)
		p.awaitTags(p.west, dst, "team=west while=down x=y ")
	})
}

func TestFailbackBringsTheTagsBack(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		p.tag(p.east, src, "state", "old")
		p.tag(p.east, src, "gone", "soon")
		dst := p.replicate(p.east, src, p.west, "")
		p.awaitTags(p.west, dst, "gone=soon state=old ")
		p.delete(p.west, src, "")
		p.eventually("the source is free", func() bool { return p.status(p.east, src) == control.CodeReplicationNotFound })
		p.tag(p.west, dst, "state", "new")
		if err := p.west.Control.UntagResource(t.Context(), dst, []string{"gone"}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.east.Control.UpdateProtection(src, control.ProtectionDisabled); err != nil {
			t.Fatal(err)
		}
		p.replicate(p.west, dst, p.east, src)
		p.awaitTags(p.east, src, "state=new ")
	})
}

func TestSettingsCanBeKept(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		p.kill(p.east)
		p.east.Config.KeepSettings = true
		p.start(p.east)
		src := p.create(p.east, "a")
		p.tag(p.east, src, "Name", "home")
		dst := p.replicate(p.east, src, p.west, "")
		time.Sleep(time.Minute)
		if got := p.tags(p.west, dst); got != "" {
			t.Errorf("tags %q were copied", got)
		}
	})
}

func TestTagsThatDoNotFitAreLeftOut(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		dst := p.replicate(p.east, src, p.west, "")
		for i := range control.MaxTags {
			p.tag(p.west, dst, "own"+string(rune('A'+i)), "")
		}
		before := p.tags(p.west, dst)
		p.tag(p.east, src, "one", "more")
		time.Sleep(time.Minute)
		p.awaitTags(p.west, dst, before)
	})
}
