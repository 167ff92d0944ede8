package efsapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/efs"
)

// contract is testdata/api.json: every operation of EFS with every member, its
// bounds, and the errors. The tests of input go through it, so that no member is
// left out.
type contract struct {
	Operations []contractOperation
	Shapes     map[string]shape
	Errors     map[string]struct {
		Status int
		Member string // what the error must carry
	}
}

type contractOperation struct {
	Name    string
	Method  string
	Path    string
	Status  int
	Members []member
	Errors  []string
}

// member is one of an operation or a structure. It has a Shape, or is a List of
// one.
type member struct {
	Name     string
	In       string // "path", "query" or "body"; of operations only
	Required bool
	Shape    string
	List     string
	Min      int // of the list
	Max      int // of the list; 0: none
}

type shape struct {
	Type     string // string, integer, double, boolean, structure
	Min, Max int64  // characters, or value
	Pattern  string
	Values   []string
	Members  []member
}

func readContract(t testing.TB) *contract {
	t.Helper()
	raw, err := os.ReadFile("testdata/api.json")
	if err != nil {
		t.Fatal(err)
	}
	c := &contract{}
	if err := json.Unmarshal(raw, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestContractIsThatOfTheSDK compares the list with the structures of AWS's SDK:
// every operation, every member, also of nested structures, and every value of
// an enum.
func TestContractIsThatOfTheSDK(t *testing.T) {
	c := readContract(t)
	inputs := map[string]reflect.Type{}
	client := reflect.TypeFor[*efs.Client]()
	for i := range client.NumMethod() {
		m := client.Method(i)
		if m.Type.NumIn() >= 3 && strings.HasSuffix(m.Type.In(2).String(), "Input") { // receiver, context, input
			inputs[m.Name] = m.Type.In(2).Elem()
		}
	}
	if len(inputs) != 31 || len(c.Operations) != 31 || len(c.Errors) != 32 {
		t.Errorf("the SDK has %d operations, the contract %d with %d errors", len(inputs), len(c.Operations), len(c.Errors))
	}
	for _, o := range c.Operations {
		if inputs[o.Name] == nil {
			t.Errorf("the SDK has no operation %s", o.Name)
			continue
		}
		c.compareMembers(t, o.Name, o.Members, inputs[o.Name])
		for _, e := range o.Errors {
			if c.Errors[e].Status == 0 {
				t.Errorf("%s has the error %s, which is not in the list", o.Name, e)
			}
		}
	}
}

func (c *contract) compareMembers(t *testing.T, at string, members []member, in reflect.Type) {
	t.Helper()
	var ours, theirs []string
	for _, m := range members {
		name := strings.ToUpper(m.Name[:1]) + m.Name[1:]
		ours = append(ours, name)
		f, ok := in.FieldByName(name)
		if !ok {
			continue
		}
		ft := f.Type
		for ft.Kind() == reflect.Pointer || ft.Kind() == reflect.Slice {
			ft = ft.Elem()
		}
		s := c.Shapes[m.Shape+m.List]
		if f := reflect.New(ft).Elem().MethodByName("Values"); f.IsValid() && !sameSet(s.Values, f.Call(nil)[0]) {
			t.Errorf("%s.%s may be %v, for the SDK %v", at, name, s.Values, f.Call(nil)[0])
		}
		if ft.Kind() == reflect.Struct {
			c.compareMembers(t, at+"."+name, s.Members, ft)
		}
	}
	for i := range in.NumField() {
		if f := in.Field(i); f.IsExported() {
			theirs = append(theirs, f.Name)
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	if !slices.Equal(ours, theirs) {
		t.Errorf("%s has %v, for the SDK %v", at, ours, theirs)
	}
}

func sameSet(ours []string, theirs reflect.Value) bool {
	var all []string
	for i := range theirs.Len() {
		all = append(all, theirs.Index(i).String())
	}
	ours = slices.Clone(ours)
	slices.Sort(ours)
	slices.Sort(all)
	return slices.Equal(ours, all)
}

// members are the values of a request's members by name, wherever they travel.
// A json.RawMessage goes out as it is.
type members map[string]any

func (m members) with(name string, v any) members {
	m = maps.Clone(m)
	m[name] = v
	return m
}

func (m members) without(name string) members {
	m = maps.Clone(m)
	delete(m, name)
	return m
}

// sendMembers sends a request with the members, each where the contract has it.
func (a *api) sendMembers(o *contractOperation, m members) *httptest.ResponseRecorder {
	a.t.Helper()
	path, body := o.compose(a.t, m)
	return a.send(o.Method, path, body)
}

// compose gives path with query, and body, of a request with the members.
func (o *contractOperation) compose(t testing.TB, m members) (path, payload string) {
	t.Helper()
	path, query := o.Path, url.Values{}
	var body bytes.Buffer
	for _, d := range o.Members {
		v, given := m[d.Name]
		if !given {
			continue
		}
		switch d.In {
		case "path":
			path = strings.Replace(path, "{"+d.Name+"}", url.PathEscape(text(v)), 1)
		case "query":
			if list, ok := v.([]any); ok {
				for _, e := range list {
					query.Add(d.Name, text(e))
				}
				continue
			}
			query.Add(d.Name, text(v))
		default:
			fmt.Fprintf(&body, ",%q:%s", d.Name, raw(t, v))
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	if body.Len() > 0 {
		payload = "{" + body.String()[1:] + "}"
	}
	return path, payload
}

// takesBody tells whether members travel in the body.
func (o *contractOperation) takesBody() bool {
	return slices.ContainsFunc(o.Members, func(m member) bool { return m.In == "body" })
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.RawMessage:
		return string(v)
	}
	return fmt.Sprint(v)
}

func raw(t testing.TB, v any) string {
	t.Helper()
	b := &strings.Builder{}
	switch v := v.(type) {
	case json.RawMessage:
		return string(v)
	case members:
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(b, "%q:%s", k, raw(t, v[k]))
		}
		return "{" + b.String() + "}"
	case []any:
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(raw(t, e))
		}
		return "[" + b.String() + "]"
	}
	encoded, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// TestEveryOperationHasAGoldenPair: the frozen pairs are one for each operation
// of the contract, and none is left over from a story that is told no more.
func TestEveryOperationHasAGoldenPair(t *testing.T) {
	files, err := os.ReadDir("testdata/golden")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, f := range files {
		have[strings.TrimSuffix(f.Name(), ".txt")] = true
	}
	for _, o := range readContract(t).Operations {
		if !have[o.Name] {
			t.Errorf("%s has no recorded pair: add it to the story and run with -update", o.Name)
			continue
		}
		text, err := os.ReadFile("testdata/golden/" + o.Name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("\n\n%d\n", o.Status); !strings.HasPrefix(string(text), o.Method+" /2015-02-01/") || !strings.Contains(string(text), want) {
			t.Errorf("the pair of %s has not the method and the status of the contract:\n%s", o.Name, text)
		}
	}
	for _, p := range story {
		delete(have, p.name)
	}
	if len(have) > 0 {
		t.Errorf("pairs that no test tells: %v", slices.Sorted(maps.Keys(have)))
	}
}
