package control_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/controltest"
)

func (p *pair) point(r *controltest.Region, id, token string) control.AccessPointDescription {
	p.t.Helper()
	d, err := r.Control.CreateAccessPoint(p.t.Context(), control.CreateAccessPointRequest{FileSystemID: id, ClientToken: token, Path: "/" + token,
		User: &control.PosixUser{UID: 7, GID: 8, Groups: []uint32{9}}, Create: &control.Creation{UID: 7, GID: 8, Mode: 0o750}})
	if err != nil {
		p.t.Fatalf("create an access point in %s: %v", r.Name, err)
	}
	return d
}

// points gives the ids of a file system's access points, page by page.
func (p *pair) points(r *controltest.Region, ref string, limit int) (ids []string) {
	p.t.Helper()
	for after := ""; ; {
		part, next, err := r.Control.PageOfAccessPoints(ref, after, limit)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, d := range part {
			ids = append(ids, d.ID)
		}
		if after = next; after == "" {
			return ids
		}
	}
}

func TestAccessPointsFollowTheReplicaWithTheirIDs(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id := p.create(p.east, "a")
		made := p.point(p.east, id, "app")
		dest := p.replicate(p.east, id, p.west, "")
		later := p.point(p.east, id, "later")
		p.eventually("both are there", func() bool { return len(p.points(p.west, dest, 100)) == 2 })
		got, err := p.west.Control.DescribeAccessPoint(made.ID)
		if err != nil || got.FileSystemID != dest || got.ARN != "arn:aws:elasticfilesystem:us-west-2:123456789012:access-point/"+made.ID ||
			got.Path != "/app" || got.User.UID != 7 || !slices.Equal(got.User.Groups, []uint32{9}) || got.Create.Mode != 0o750 {
			t.Errorf("the replica has %+v, %v", got, err)
		}
		_, err = p.west.Control.CreateAccessPoint(t.Context(), control.CreateAccessPointRequest{FileSystemID: dest, ClientToken: "x"})
		wantCode(t, "creation on a replica", err, control.CodeIncorrectState)
		wantCode(t, "tagging on a replica", p.west.Control.TagResource(t.Context(), made.ID, []control.Tag{{Key: "a", Value: "b"}}), control.CodeIncorrectState)
		wantCode(t, "untagging on a replica", p.west.Control.UntagResource(t.Context(), made.ID, []string{"a"}), control.CodeIncorrectState)
		wantCode(t, "deletion on a replica", p.west.Control.DeleteAccessPoint(t.Context(), made.ID), control.CodeIncorrectState)
		if err := p.east.Control.DeleteAccessPoint(t.Context(), later.ID); err != nil {
			t.Fatal(err)
		}
		p.eventually("the deletion follows", func() bool { return len(p.points(p.west, dest, 100)) == 1 })
		p.kill(p.east)
		p.delete(p.west, id, "")
		p.eventually("promoted", func() bool { return p.west.Engines.Write(dest, "x") == nil })
		if err := p.west.Control.TagResource(t.Context(), made.ID, []control.Tag{{Key: "Name", Value: "n"}}); err != nil {
			t.Errorf("tags after the failover: %v", err)
		}
		if got, _ := p.west.Control.DescribeAccessPoint(made.ID); got.Name != "n" {
			t.Errorf("after the failover: %+v", got)
		}
		p.start(p.east)
	})
}

// TestReplicaWithoutSettingsHasItsOwn: copy_settings false.
func TestReplicaWithoutSettingsHasItsOwn(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		p.kill(p.east)
		p.east.Config.KeepSettings = true
		p.start(p.east)
		id := p.create(p.east, "a")
		made := p.point(p.east, id, "app")
		if _, err := p.east.Control.PutPolicy(t.Context(), id, allowMount, control.Caller{}, false); err != nil {
			t.Fatal(err)
		}
		dest := p.replicate(p.east, id, p.west, "")
		if ids := p.points(p.west, dest, 100); len(ids) != 0 {
			t.Errorf("the replica has %q", ids)
		}
		if r := p.west.Control.ClientRights(dest, control.Client{}); !r.Write {
			t.Errorf("the replica has the policy of its source: %+v", r)
		}
		p.delete(p.east, id, "")
		p.eventually("promoted", func() bool { return p.west.Engines.Write(dest, "x") == nil })
		own := p.point(p.west, dest, "own")
		if ids := p.points(p.west, "", 100); !slices.Equal(ids, []string{own.ID}) {
			t.Errorf("after the promotion: %q", ids)
		}
		// The way home: the other region copies, and what it has is its own.
		if _, err := p.east.Control.UpdateProtection(id, control.ProtectionDisabled); err != nil {
			t.Fatal(err)
		}
		p.replicate(p.west, dest, p.east, id)
		p.eventually("the settings of the new source count", func() bool { return slices.Equal(p.points(p.east, id, 100), []string{own.ID}) })
		_, err := p.east.Control.DescribeAccessPoint(made.ID)
		wantCode(t, "an access point from before", err, control.CodeAccessPointNotFound)
	})
}

func TestAccessPointPagesAndLimit(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id, other := p.create(p.east, "a"), p.create(p.east, "b")
		var want []string
		for i := range control.MaxAccessPoints {
			want = append(want, p.point(p.east, id, fmt.Sprint(i)).ID)
		}
		slices.Sort(want)
		if got := p.points(p.east, id, 100); !slices.Equal(got, want) {
			t.Errorf("%d access points in pages, want %d", len(got), len(want))
		}
		_, err := p.east.Control.CreateAccessPoint(t.Context(), control.CreateAccessPointRequest{FileSystemID: id, ClientToken: "more"})
		wantCode(t, "one too many", err, control.CodeAccessPointLimit)
		extra := p.point(p.east, other, "0") // the token counts by file system
		all := append(slices.Clone(want), extra.ID)
		slices.Sort(all)
		if got := p.points(p.east, "", 99); !slices.Equal(got, all) {
			t.Errorf("%d in the region, want %d", len(got), len(all))
		}
	})
}

func TestTokenOfAnAccessPointIsUsedOnce(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id := p.create(p.east, "a")
		made := p.point(p.east, id, "t")
		again := func() *control.Error {
			_, err := p.east.Control.CreateAccessPoint(t.Context(), control.CreateAccessPointRequest{FileSystemID: id, ClientToken: "t"})
			var e *control.Error
			errors.As(err, &e)
			return e
		}
		if e := again(); e == nil || e.Code != control.CodeAccessPointExists || e.AccessPointID != made.ID {
			t.Errorf("the same token: %+v", e)
		}
		p.kill(p.east)
		p.start(p.east)
		if e := again(); e == nil || e.AccessPointID != made.ID {
			t.Errorf("the same token after a restart: %+v", e)
		}
		p.east.Engines.Forget(id)
		if e := again(); e == nil || e.AccessPointID != made.ID {
			t.Errorf("the same token after a switch: %+v", e)
		}
		if err := p.east.Control.DeleteAccessPoint(t.Context(), made.ID); err != nil {
			t.Fatal(err)
		}
		if e := again(); e != nil {
			t.Errorf("the token of what was deleted: %+v", e)
		}
	})
}

// TestCrashWithinTheCreationOfAnAccessPoint: the secret and the access point are
// two records. Whichever was the last to be kept, the request can be made again.
func TestCrashWithinTheCreationOfAnAccessPoint(t *testing.T) {
	for _, fail := range []string{"SetSetting", "SetSetting-answer"} { // not applied; applied but reported failed
		inTwoRegions(t, func(t *testing.T, p *pair) {
			id := p.create(p.east, "a")
			p.east.Engines.Fail(fail, errors.New("the disk is gone"))
			for range 2 { // with the answer lost, the first try leaves the secret
				_, err := p.east.Control.CreateAccessPoint(t.Context(), control.CreateAccessPointRequest{FileSystemID: id, ClientToken: "t"})
				wantCode(t, fail, err, control.CodeInternal)
			}
			p.kill(p.east)
			p.east.Engines.Fail(fail, nil)
			p.start(p.east)
			_, err := p.east.Control.CreateAccessPoint(t.Context(), control.CreateAccessPointRequest{FileSystemID: id, ClientToken: "t"})
			if code := codeOf(err); code != "" && code != control.CodeAccessPointExists {
				t.Errorf("%s: the request made again: %v", fail, err)
			}
			ids := p.points(p.east, id, 100)
			if len(ids) != 1 {
				t.Fatalf("%s: access points %q", fail, ids)
			}
			if _, _, err := p.east.Control.ClientAccessPoint(id, ids[0]); err != nil {
				t.Errorf("%s: it cannot be used: %v", fail, err)
			}
		})
	}
}

func TestAccessPointOfANewerReleaseLetsNobodyIn(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id := p.create(p.east, "a")
		made := p.point(p.east, id, "t")
		for _, text := range []string{`{"v":2}`, `{"v":1,"token":"t","path":"/","quota":1}`, `{`} {
			if err := p.east.Engines.SetSetting(t.Context(), id, "access-point/"+made.ID, []byte(text)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := p.east.Control.ClientAccessPoint(id, made.ID); err == nil {
				t.Errorf("%s lets in", text)
			}
			if d, err := p.east.Control.DescribeAccessPoint(made.ID); err != nil || d.Broken == nil {
				t.Errorf("%s is described as %+v, %v", text, d, err)
			}
		}
	})
}

func TestSettingsOfWhatIsDeletedAreGone(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id := p.create(p.east, "a")
		made := p.point(p.east, id, "t")
		if err := p.east.Control.DeleteFileSystem(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		_, err := p.east.Control.DescribeAccessPoint(made.ID)
		wantCode(t, "an access point of a deleted file system", err, control.CodeAccessPointNotFound)
		_, err = p.east.Control.DescribeMountTargets("", made.ID, "")
		wantCode(t, "mount targets of it", err, control.CodeAccessPointNotFound)
	})
}

// TestAccessPointOfAFileSystemThatDoesNotOpenIsNotDeniedToExist: who is told that
// it is not there forgets it for good.
func TestAccessPointOfAFileSystemThatDoesNotOpenIsNotDeniedToExist(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id, well := p.create(p.east, "a"), p.create(p.east, "b")
		made, other := p.point(p.east, id, "app"), p.point(p.east, well, "other")
		p.kill(p.east)
		p.east.Engines.Fail("Open "+id, errors.New("its journal is damaged"))
		p.start(p.east)
		_, err := p.east.Control.DescribeAccessPoint(made.ID)
		wantCode(t, "describe it", err, control.CodeInternal)
		_, err = p.east.Control.DescribeAccessPoint(made.ARN)
		wantCode(t, "describe it by its ARN", err, control.CodeInternal)
		wantCode(t, "delete it", p.east.Control.DeleteAccessPoint(t.Context(), made.ID), control.CodeInternal)
		_, _, err = p.east.Control.PageOfAccessPoints(id, "", 10)
		wantCode(t, "list those of its file system", err, control.CodeInternal)
		if got := p.points(p.east, "", 10); !slices.Equal(got, []string{other.ID}) {
			t.Errorf("those of the region: %v, want %s", got, other.ID)
		}
		if got, err := p.east.Control.DescribeAccessPoint(other.ID); err != nil || got.FileSystemID != well {
			t.Errorf("one of another file system: %+v, %v", got, err)
		}
		if err := p.east.Control.DeleteAccessPoint(t.Context(), other.ID); err != nil {
			t.Error(err)
		}
		_, err = p.east.Control.DescribeAccessPoint(other.ID)
		wantCode(t, "one that was deleted", err, control.CodeAccessPointNotFound)

		p.east.Engines.Fail("Open "+id, nil)
		p.eventually("it opens", func() bool {
			got, err := p.east.Control.DescribeAccessPoint(made.ID)
			return err == nil && got.FileSystemID == id
		})
		_, err = p.east.Control.DescribeAccessPoint("fsap-0123456789abcdef0")
		wantCode(t, "one that never was", err, control.CodeAccessPointNotFound)
	})
}

// TestAccessPointOfAFileSystemThatDoesNotWakeUpIsNotDeniedToExist: one at rest is
// there, and cannot say what it has.
func TestAccessPointOfAFileSystemThatDoesNotWakeUpIsNotDeniedToExist(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id := p.create(p.east, "a")
		made := p.point(p.east, id, "app")
		p.east.Engines.Forget(id)
		p.east.Engines.Fail("EachSetting "+id, errors.New("it does not wake up"))
		_, err := p.east.Control.DescribeAccessPoint(made.ID)
		wantCode(t, "describe it", err, control.CodeInternal)
		_, err = p.east.Control.CreateAccessPoint(t.Context(), control.CreateAccessPointRequest{FileSystemID: id, ClientToken: "more"})
		wantCode(t, "make another one", err, control.CodeInternal)
		if err != nil && (!contains(err.Error(), "does not wake up") || !contains(err.Error(), id) || !contains(err.Error(), "Try again")) {
			t.Errorf("the message does not say where, why and what to do: %v", err)
		}
		p.east.Engines.Fail("EachSetting "+id, nil)
		if got, err := p.east.Control.DescribeAccessPoint(made.ID); err != nil || got.FileSystemID != id {
			t.Errorf("when it wakes up again: %+v, %v", got, err)
		}
	})
}
