package efsapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/control"
)

const benchTags = 10 // of each of control.MaxFileSystems file systems

func fullRegion(b *testing.B) *api {
	b.Helper()
	a := newAPI(b)
	for i := range control.MaxFileSystems {
		w := a.send("POST", "/file-systems", fmt.Sprintf(`{"CreationToken":"t%d","Tags":%s}`, i, tags(benchTags)))
		if w.Code != http.StatusCreated {
			b.Fatal(w.Body)
		}
	}
	return a
}

// BenchmarkDescribeFileSystemsPage is the page in the middle of a full region
// with 10,000 tags, signature included.
func BenchmarkDescribeFileSystemsPage(b *testing.B) {
	a := fullRegion(b)
	var marker string
	for range control.MaxFileSystems / 100 / 2 {
		w := a.send("GET", "/file-systems"+marker, "")
		_, next, ok := strings.Cut(w.Body.String(), `"NextMarker":"`)
		if !ok {
			b.Fatal(w.Body)
		}
		marker = "?Marker=" + next[:strings.IndexByte(next, '"')]
	}
	b.ReportAllocs()
	for b.Loop() {
		if w := a.send("GET", "/file-systems"+marker, ""); w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}

// BenchmarkStart is the start of a full region, engines aside.
func BenchmarkStart(b *testing.B) {
	a := fullRegion(b)
	for b.Loop() {
		if err := a.region.Kill(); err != nil {
			b.Fatal(err)
		}
		if err := a.region.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
