package region

import (
	"bytes"
	"errors"
	"testing"
)

type countingWrapper struct {
	calls int
	err   error
}

func (w *countingWrapper) Wrap(secret []byte, _ string) ([]byte, error) { return secret, nil }

func (w *countingWrapper) Unwrap(wrapped []byte, context string) ([]byte, error) {
	w.calls++
	return append([]byte(context), wrapped...), w.err
}

// TestCommandIsAskedOnceForEachKey: what is known is not asked for again, what
// failed is, and no key is taken for another.
func TestCommandIsAskedOnceForEachKey(t *testing.T) {
	w := &countingWrapper{err: errors.New("down")}
	r := &remembering{Wrapper: w, known: map[string][]byte{}}
	if _, err := r.Unwrap([]byte("k"), "a"); err == nil {
		t.Error("a failure is not passed on")
	}
	w.err = nil
	for range 3 {
		for _, c := range []struct{ wrapped, context string }{{"k", "a"}, {"l", "a"}, {"k", "b"}} {
			got, err := r.Unwrap([]byte(c.wrapped), c.context)
			if err != nil || !bytes.Equal(got, []byte(c.context+c.wrapped)) {
				t.Errorf("%v: %q, %v", c, got, err)
			}
			got[0] ^= 1 // the caller's own
		}
	}
	if w.calls != 4 {
		t.Errorf("%d calls, want 4", w.calls)
	}
}
