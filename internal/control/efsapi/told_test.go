package efsapi_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// instruction finds a clause that tells the reader to do something: one that
// begins with such a verb. It cannot judge whether the advice is good; it finds
// messages that give none.
var instruction = regexp.MustCompile(`(?i)(^|[.:;,?] |\band |\bor |\bthen )(add|ask|bring|call|check|choose|correct|create|delete|encode|exempt|give|leave|make|mend|name|put|replicate|see|send|set|sign|start|try|use|wait|write) `)

// checkTold checks that the message of an error tells what failed, by the name
// of the member or resource, and what to do.
func checkTold(t testing.TB, what string, w *httptest.ResponseRecorder, names string) {
	t.Helper()
	var body struct{ Message string }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Errorf("%s: %q", what, w.Body)
	}
	if !instruction.MatchString(body.Message) {
		t.Errorf("%s: the message does not say what to do: %s", what, body.Message)
	}
	if !strings.Contains(body.Message, names) {
		t.Errorf("%s: the message does not name %s: %s", what, names, body.Message)
	}
}

// makers are the functions that make messages for callers of the API, with the
// index of the text among their arguments.
var makers = map[string]int{"refuse": 1, "denied": 1, "ec2Refuse": 1, "badRequest": 0, "fail": 0, "invalid": 0}

// passedOn are texts that end with a message which has an instruction itself.
var passedOn = []string{
	"the body %s", "the policy %s", // what strictjson says
	"%s.%s.%s: %s",          // what an operator says of a value
	"Region %s refuses: %s", // what the other region says
	"File system '%s' was superseded by its destination '%s' in region %s: %s", // supersededText
}

// TestEveryMessageSaysWhatToDo reads the source: it also finds the messages of
// faults that no test can bring about here.
func TestEveryMessageSaysWhatToDo(t *testing.T) {
	found := 0
	for _, dir := range []string{"..", ".", "../policy"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			tree, err := parser.ParseFile(set, file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(tree, func(n ast.Node) bool {
				text := messageIn(n)
				if text == "" {
					return true
				}
				found++
				if !instruction.MatchString(text) && !slices.Contains(passedOn, text) {
					t.Errorf("%s: the message does not say what to do: %s", set.Position(n.Pos()), text)
				}
				return true
			})
		}
	}
	if found < 150 {
		t.Errorf("only %d messages were found: the makers have changed, mend this test", found)
	}
}

// messageIn is the text of a message that a node makes, "" for other nodes.
func messageIn(n ast.Node) string {
	switch n := n.(type) {
	case *ast.CallExpr:
		name := ""
		switch f := n.Fun.(type) {
		case *ast.Ident:
			name = f.Name
		case *ast.SelectorExpr:
			name = f.Sel.Name
		}
		if at, is := makers[name]; is && at < len(n.Args) {
			return literal(n.Args[at])
		}
	case *ast.KeyValueExpr:
		if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Message" {
			return literal(n.Value)
		}
	}
	return ""
}

// literal joins the strings of an expression.
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, _ := strconv.Unquote(e.Value)
		return s
	case *ast.BinaryExpr:
		return literal(e.X) + literal(e.Y)
	case *ast.CallExpr: // Sprintf
		if len(e.Args) > 0 {
			return literal(e.Args[0])
		}
	}
	return ""
}
