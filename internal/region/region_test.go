package region

import (
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/config"
)

// newConfig is the configuration of the first of two regions.
func newConfig(t *testing.T) *config.Config {
	t.Helper()
	s, err := config.Init(t.TempDir(), []string{"us-east-1", "eu-west-1"}, config.Options{Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(s.Regions[0].Config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestARegionThatCannotStartSaysWhyAndLetsGo(t *testing.T) {
	other := func(c *config.Config, ext string) string {
		return filepath.Join(filepath.Dir(c.Peer.Cert), "eu-west-1."+ext)
	}
	for name, x := range map[string]struct {
		spoil func(c *config.Config)
		want  string
	}{
		"a certificate that is not there":   {func(c *config.Config) { c.Peer.Cert += "x" }, "peer.cert"},
		"the certificate of another region": {func(c *config.Config) { c.Peer.Cert, c.Peer.Key = other(c, "crt"), other(c, "key") }, "must name us-east-1"},
		"a key of another certificate":      {func(c *config.Config) { c.Peer.Key = other(c, "key") }, "peer.key"},
		"an authority that is none":         {func(c *config.Config) { c.Peer.CA = c.Peer.Key }, "peer.ca"},
		"a data directory that is a file":   {func(c *config.Config) { c.DataDir = c.Peer.CA }, "data directory"},
		"a catalog that is something else":  {func(c *config.Config) { spoilCatalog(t, c) }, "catalog"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConfig(t)
			good := *c
			x.spoil(c)
			if r, err := New(c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), x.want) {
				t.Fatalf("got %v, %v, want an error that says %q", r, err, x.want)
			}
			if good.DataDir != c.DataDir || x.want == "catalog" {
				return
			}
			r, err := New(&good, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatalf("it cannot start after the mistake was mended: %v", err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func spoilCatalog(t *testing.T, c *config.Config) {
	t.Helper()
	dir := filepath.Join(c.DataDir, "catalog")
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, []byte("no catalog"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOneDataDirectoryServesOneRegionAtATime(t *testing.T) {
	c := newConfig(t)
	r, err := New(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "lock") && !strings.Contains(err.Error(), "use") {
		t.Errorf("a second one: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err = New(c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
