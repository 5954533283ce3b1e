package server_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// TestOneTextForEachMethod compares what the methods of BroadcastOperator say with what methods of the same name say where an operator
// begins: the first sentence is the same but for who is selected there.
func TestOneTextForEachMethod(t *testing.T) {
	methods := make(map[string]map[string]*doc.Func) // by type and name
	for _, typ := range packageDoc(t).Types {
		methods[typ.Name] = make(map[string]*doc.Func)
		for _, m := range typ.Methods {
			methods[typ.Name][m.Name] = m
		}
	}
	compared := 0
	for typ, selected := range map[string]string{
		"Namespace":       "all its sockets",
		"ParentNamespace": "all sockets of its children",
		"Socket":          "this client",
		"Emission":        "this client",
		"RemoteSocket":    "this client",
	} {
		for name, m := range methods[typ] {
			of := methods["BroadcastOperator"][name]
			if of == nil {
				continue
			}
			compared++
			want := strings.ReplaceAll(new(doc.Package).Synopsis(of.Doc), "the selected sockets", selected)
			if result := m.Decl.Type.Results.List[0].Type; typ == "Socket" && isOperator(result) {
				want += " This socket is left out."
			}
			if got := strings.Join(strings.Fields(m.Doc), " "); got != want && !strings.HasPrefix(got, want+" ") {
				t.Errorf("%s.%s:\n%s\nwant as BroadcastOperator says it:\n%s", typ, name, got, want)
			}
		}
	}
	if compared < 30 {
		t.Errorf("compared only %d methods", compared)
	}
}

func isOperator(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "BroadcastOperator"
}

// packageDoc reads the documentation of package server out of its files.
func packageDoc(t *testing.T) *doc.Package {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, e.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	pkg, err := doc.NewFromFiles(fset, files, "github.com/sockeye-io/sockeye/server")
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}
