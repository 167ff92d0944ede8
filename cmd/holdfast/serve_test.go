package main

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/config"
)

func TestNoSettingsOptsOutOfCopying(t *testing.T) {
	made, err := config.Init(filepath.Join(t.TempDir(), "hf"), []string{"us-east-1"}, config.Options{Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	for _, noSettings := range []bool{false, true} {
		cfg, err := loadConfig(made.Regions[0].Config, noSettings)
		if err != nil || *cfg.Replication.CopySettings == noSettings {
			t.Errorf("--no-settings=%v: %v, %v", noSettings, *cfg.Replication.CopySettings, err)
		}
	}
	if newServeCommand().Flags().Lookup("no-settings") == nil {
		t.Error("serve has no flag --no-settings")
	}
}

func TestHangUpCallsBackUntilItIsStopped(t *testing.T) {
	called := make(chan struct{}, 8)
	stop := onHangUp(func() { called <- struct{}{} })
	for range 2 {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		select {
		case <-called:
		case <-time.After(20 * time.Second):
			t.Fatal("SIGHUP is not heard")
		}
	}
	stop()
	if len(called) != 0 {
		t.Error("called too often")
	}
}
