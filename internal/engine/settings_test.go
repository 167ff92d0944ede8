package engine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
)

// TestSettingsAreKnownByWhatChanged follows the settings of an engine as who
// keeps them in memory does.
func TestSettingsAreKnownByWhatChanged(t *testing.T) {
	o := testOptions(disk.NewMem(), newClock(), "fs-1", 1)
	e := newWriter(t, o)
	if _, _, all := e.SettingsSince(0); !all {
		t.Error("version 0 is not before everything")
	}
	_, at, _ := e.SettingsSince(0)
	ok(t, e.SetSetting(ctx, "a/1", []byte("x")))
	ok(t, e.SetSetting(ctx, "b", []byte("y")))
	ok(t, e.SetSetting(ctx, "a/1", nil))
	keys, now, all := e.SettingsSince(at)
	if all || !slices.Equal(keys, []string{"a/1", "b", "a/1"}) {
		t.Errorf("after %d: %q, all %v", at, keys, all)
	}
	if keys, again, all := e.SettingsSince(now); all || len(keys) != 0 || again != now {
		t.Errorf("nothing has changed: %q, %d after %d, all %v", keys, again, now, all)
	}
	for i := range 100 { // more than are remembered
		ok(t, e.SetSetting(ctx, fmt.Sprintf("a/%03d", i), []byte{byte(i)}))
	}
	if _, _, all := e.SettingsSince(now); !all {
		t.Error("100 changes ago is still known")
	}
	var got []string
	ok(t, e.Settings("a/", func(key string, v []byte) error { got = append(got, fmt.Sprintf("%s=%d", key, v[0])); return nil }))
	if len(got) != 100 || got[0] != "a/000=0" || got[99] != "a/099=99" {
		t.Errorf("%d settings: %q", len(got), got)
	}
	_, now, _ = e.SettingsSince(0)
	ok(t, e.Close())
	e = reopen(t, o)
	defer e.Close()
	if _, _, all := e.SettingsSince(now); !all {
		t.Error("a version of the engine before the restart means something")
	}
}
