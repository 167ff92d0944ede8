package efsapi

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestErrorsHaveTheirStatus: every error type of EFS has the status that EFS
// gives it, or is one that never occurs, as the page on compatibility says.
func TestErrorsHaveTheirStatus(t *testing.T) {
	never := []string{"AvailabilityZonesMismatch", "DependencyTimeout", "InsufficientThroughputCapacity", "ThrottlingException", "TooManyRequests"}
	raw, err := os.ReadFile("testdata/api.json")
	if err != nil {
		t.Fatal(err)
	}
	var api struct {
		Errors map[string]struct{ Status int }
	}
	if err := json.Unmarshal(raw, &api); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../../docs/efs-compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(api.Errors) != 32 {
		t.Errorf("%d error types, EFS has 32", len(api.Errors))
	}
	for code, e := range api.Errors {
		switch {
		case slices.Contains(never, code):
			if statusOf[code] != 0 || !strings.Contains(string(page), code) {
				t.Errorf("%s never occurs: it has status %d, and the page must name it", code, statusOf[code])
			}
		case statusOf[code] != e.Status:
			t.Errorf("%s has status %d, EFS's is %d", code, statusOf[code], e.Status)
		}
	}
}

// TestPageOnCompatibilityListsEveryOperation: each is full, partial or refused.
func TestPageOnCompatibilityListsEveryOperation(t *testing.T) {
	page, err := os.ReadFile("../../../docs/efs-compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	rated := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !slices.Contains([]string{"full", "partial", "refused"}, strings.TrimSpace(cells[2])) {
			continue
		}
		for name := range strings.SplitSeq(cells[1], ",") {
			rated[strings.TrimSpace(name)] = true
		}
	}
	h := &handler{}
	for _, o := range h.operations() {
		if !rated[o.name] {
			t.Errorf("docs/efs-compatibility.md does not rate %s", o.name)
		}
		delete(rated, o.name)
		if o.name == "DescribeTags" {
			rated[o.name] = true // it stands twice
		}
	}
	delete(rated, "DescribeTags")
	if len(rated) > 0 {
		t.Errorf("the page rates what is no operation: %v", rated)
	}
}
