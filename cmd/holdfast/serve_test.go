package main

import (
	"os"
	"syscall"
	"testing"
	"time"
)

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
