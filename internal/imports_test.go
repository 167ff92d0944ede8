package internal

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// allowed tells which of our packages each room may import (its own children
// aside). A room that is not listed may import everything: region and what is
// above it.
var allowed = map[string][]string{
	"fs":                 {},
	"disk":               {},
	"seal":               {"fs", "disk"},
	"journal":            {"fs", "disk", "seal"},
	"engine":             {"fs", "disk", "seal", "journal"},
	"engine/rules":       {"fs"},
	"engine/tree":        {"fs", "disk", "engine/writeset"},
	"engine/writeset":    {"fs"},
	"nfs":                {"fs"},
	"nfs/xdr":            {},
	"nfs/oncrpc":         {"nfs/xdr"},
	"nfs/state":          {"fs", "nfs/xdr"},
	"nfsclient":          {"fs", "nfs/xdr", "nfs/oncrpc"},
	"replica":            {"fs"},
	"control":            {"fs"},
	"control/strictjson": {},
	"control/policy":     {"control/strictjson"},
	"control/efsapi":     {"fs", "control", "control/strictjson"},
	"control/journallog": {"fs", "disk", "journal", "control"},
	"fstest":             {"fs"},
}

const module = "github.com/holdfast-fs/holdfast/internal/"

func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	checked := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		room := path.Dir(filepath.ToSlash(file))
		may, ok := allowed[room]
		if !ok {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		checked++
		for _, im := range f.Imports {
			p, _ := strconv.Unquote(im.Path.Value)
			other, ours := strings.CutPrefix(p, module)
			if ours && !strings.HasPrefix(other, room+"/") && !contains(may, other) {
				t.Errorf("%s imports %s: %s may import only %v and its children", file, other, room, may)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 50 {
		t.Fatalf("only %d files were checked: the layout has changed, mend this test", checked)
	}
}

func contains(l []string, s string) bool {
	for _, x := range l {
		if x == s {
			return true
		}
	}
	return false
}
