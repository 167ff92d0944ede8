package efsapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// paged is an operation that answers in pages.
type paged struct {
	operation   string
	path        string // up to the query
	query       string // what names the resource, "" for nothing
	limit, next string // parameters
	answer      string // where the answer has the next one
	list, key   string
	// add makes an item, take removes one by its key.
	add  func(f *furnished, i int)
	take func(f *furnished, key string)
}

func (f *furnished) must(method, path, body string) {
	f.t.Helper()
	if w := f.send(method, fill(path, f.known), fill(body, f.known)); w.Code >= 300 {
		f.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
}

func addTag(f *furnished, i int) {
	f.must("POST", "/resource-tags/{fs}", fmt.Sprintf(`{"Tags":[{"Key":"k%03d","Value":"v"}]}`, i))
}
func takeTag(f *furnished, key string) {
	f.must("DELETE", "/resource-tags/{fs}?tagKeys="+url.QueryEscape(key), "")
}

var pagedOperations = []paged{
	{"DescribeFileSystems", "/file-systems", "", "MaxItems", "Marker", "NextMarker", "FileSystems", "FileSystemId",
		func(f *furnished, i int) { f.create(fmt.Sprint("paged", i)) },
		func(f *furnished, key string) { f.must("DELETE", "/file-systems/"+key, "") }},
	{"DescribeAccessPoints", "/access-points", "FileSystemId={fs}", "MaxResults", "NextToken", "NextToken", "AccessPoints", "AccessPointId",
		func(f *furnished, i int) {
			f.must("POST", "/access-points", fmt.Sprintf(`{"ClientToken":"p%d","FileSystemId":"{fs}"}`, i))
		},
		func(f *furnished, key string) { f.must("DELETE", "/access-points/"+key, "") }},
	{"ListTagsForResource", "/resource-tags/{fs}", "", "MaxResults", "NextToken", "NextToken", "Tags", "Key", addTag, takeTag},
	{"DescribeTags", "/tags/{fs}", "", "MaxItems", "Marker", "NextMarker", "Tags", "Key", addTag, takeTag},
	{"DescribeReplicationConfigurations", "/file-systems/replication-configurations", "", "MaxResults", "NextToken", "NextToken", "Replications", "SourceFileSystemId",
		func(f *furnished, i int) {
			id := f.create(fmt.Sprint("paged", i))
			f.must("POST", "/file-systems/"+id+"/replication-configuration", `{"Destinations":[{"Region":"us-west-2"}]}`)
			time.Sleep(3 * time.Second) // of fake time
		},
		func(f *furnished, key string) {
			f.must("DELETE", "/file-systems/"+key+"/replication-configuration", "")
			time.Sleep(3 * time.Second)
		}},
}

// otherPages: DescribeMountTargets has a test of its own, as a file system has
// one in each zone only; DescribeAccountPreferences has one preference.
var otherPages = []string{"DescribeMountTargets", "DescribeAccountPreferences"}

func TestPagesOfMountTargets(t *testing.T) {
	inBubble(t, func(f *furnished) {
		p := &paged{operation: "DescribeMountTargets", path: "/mount-targets", query: "FileSystemId={fs}", limit: "MaxItems", next: "Marker", answer: "NextMarker", list: "MountTargets", key: "MountTargetId"}
		f.must("POST", "/mount-targets", `{"FileSystemId":"{fs}","SubnetId":"subnet-0000000000000001b"}`)
		all, next := f.page(p, "", "")
		if len(all) != 2 || next != "" {
			t.Fatalf("%q, then %q", all, next)
		}
		one, next := f.page(p, "1", "")
		two, end := f.page(p, "1", next)
		if !slices.Equal(append(one, two...), all) || end != "" {
			t.Errorf("%q and %q, then %q", one, two, end)
		}
		f.must("DELETE", "/mount-targets/"+one[0], "")
		if two, _ = f.page(p, "1", next); !slices.Equal(two, all[1:]) {
			t.Errorf("after the first one is gone: %q", two)
		}
	})
}

func (f *furnished) page(p *paged, limit, after string) (keys []string, next string) {
	f.t.Helper()
	q, err := url.ParseQuery(fill(p.query, f.known))
	if err != nil {
		f.t.Fatal(err)
	}
	if limit != "" {
		q.Set(p.limit, limit)
	}
	if after != "" {
		q.Set(p.next, after)
	}
	w := f.send("GET", fill(p.path, f.known)+"?"+q.Encode(), "")
	var m map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || w.Code != http.StatusOK {
		f.t.Fatalf("%s %s after %q: %d %s", p.operation, limit, after, w.Code, w.Body)
	}
	for _, e := range m[p.list].([]any) {
		keys = append(keys, e.(map[string]any)[p.key].(string))
	}
	next, _ = m[p.answer].(string)
	if p.next == "Marker" && after != "" && m["Marker"] != after {
		f.t.Errorf("%s: the marker %q is not repeated: %v", p.operation, after, m["Marker"])
	}
	return keys, next
}

// TestPages: following the tokens gives every item once, in pages of the size
// that was asked for and never more than 100, while others come and go; a token
// that nobody gave is no error.
func TestPages(t *testing.T) {
	c := readContract(t)
	for _, o := range c.Operations {
		isPaged := slices.ContainsFunc(o.Members, func(m member) bool { return m.Shape == "PageSize" })
		tested := slices.ContainsFunc(pagedOperations, func(p paged) bool { return p.operation == o.Name })
		if isPaged != (tested || slices.Contains(otherPages, o.Name)) {
			t.Errorf("%s has pages: %v, and is tested: %v", o.Name, isPaged, tested)
		}
	}
	for _, p := range pagedOperations {
		inBubble(t, func(f *furnished) {
			for i := range 12 {
				p.add(f, i)
			}
			all, next := f.page(&p, "", "")
			if next != "" || len(all) < 12 || len(all) > 100 {
				t.Fatalf("%s: %d items, then %q", p.operation, len(all), next)
			}
			for _, limit := range []string{"1", "5", "12", "13", "100", "2147483647"} {
				var seen []string
				after := ""
				for pages := 0; ; pages++ {
					var keys []string
					keys, after = f.page(&p, limit, after)
					if most, err := strconv.Atoi(limit); err != nil || len(keys) > most {
						t.Errorf("%s: %d items in a page of %s", p.operation, len(keys), limit)
					}
					seen = append(seen, keys...)
					if after == "" {
						break
					}
					if pages > 100 {
						t.Fatalf("%s: the pages of %s never end", p.operation, limit)
					}
				}
				slices.Sort(seen)
				want := slices.Clone(all)
				slices.Sort(want)
				if !slices.Equal(seen, want) {
					t.Errorf("%s in pages of %s: %q, want %q", p.operation, limit, seen, want)
				}
			}
			if p.operation == "DescribeAccessPoints" { // the cheapest to have many of
				for i := range 100 {
					p.add(f, 100+i)
				}
				keys, next := f.page(&p, "2147483647", "")
				if rest, end := f.page(&p, "", next); len(keys) != 100 || len(rest) != len(all) || end != "" {
					t.Errorf("%d access points in a page, then %d", len(keys), len(rest))
				}
			}
			// Items go and come between two pages: the others are there once.
			first, after := f.page(&p, "3", "")
			p.take(f, first[2]) // that the token names
			p.add(f, 900)
			seen := slices.Clone(first)
			for after != "" {
				var keys []string
				keys, after = f.page(&p, "3", after)
				seen = append(seen, keys...)
			}
			for _, key := range all {
				if n := strings.Count(" "+strings.Join(seen, " ")+" ", " "+key+" "); n != 1 {
					t.Errorf("%s: %s is there %d times while others came and went", p.operation, key, n)
				}
			}
			for _, strange := range []string{"garbage", "~~~", "%00", "../..", strings.Repeat("z", 128), "é", all[0] + "x", "\"'<>"} {
				if keys, _ := f.page(&p, "2", strange); len(keys) > 2 {
					t.Errorf("%s after %q: %q", p.operation, strange, keys)
				}
			}
		})
	}
}

// TestEqualRequestsAtOnce: of equal requests that come at the same time one
// makes something, and the others are told what it is.
func TestEqualRequestsAtOnce(t *testing.T) {
	for _, c := range []struct{ path, body, member, code string }{
		{"/file-systems", `{"CreationToken":"same"}`, "FileSystemId", "FileSystemAlreadyExists"},
		{"/access-points", `{"ClientToken":"same","FileSystemId":"{plain}"}`, "AccessPointId", "AccessPointAlreadyExists"},
		{"/mount-targets", `{"FileSystemId":"{plain}","SubnetId":"` + subnetA + `"}`, "MountTargetId", "MountTargetConflict"},
		{"/file-systems/{plain}/replication-configuration", `{"Destinations":[{"Region":"us-west-2"}]}`, "", "ConflictException"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := furnish(t)
			const n = 16
			answers := make([]*httptest.ResponseRecorder, n)
			requests := make([]*http.Request, n)
			for i := range requests {
				requests[i] = f.request("POST", fill(c.path, f.known), []byte(fill(c.body, f.known)))
			}
			var wg sync.WaitGroup
			for i, r := range requests {
				wg.Go(func() { answers[i] = f.do(r) })
			}
			wg.Wait()
			made, id := 0, ""
			for _, w := range answers {
				if w.Code < 300 {
					made++
					var m map[string]any
					if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
						t.Fatal(err)
					}
					id, _ = m[c.member].(string)
				}
			}
			if made != 1 {
				t.Errorf("%s: %d of %d equal requests made something", c.path, made, n)
			}
			for _, w := range answers {
				if w.Code >= 300 {
					checkError(t, w, c.path, c.code)
					if !strings.Contains(w.Body.String(), id) {
						t.Errorf("%s: the others are not told of %s: %s", c.path, id, w.Body)
					}
				}
			}
			time.Sleep(time.Minute)
		})
	}
}
