package layout_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// TestErrorTexts holds the form of error texts: "action: cause", in lower case and without the name of the package in front,
// which whoever wraps the error, or logs it, would repeat.
func TestErrorTexts(t *testing.T) {
	texts := 0
	for _, root := range []string{"../../server", "../../adapter", "../../cmd", "../../examples"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if text, ok := errorText(n); ok {
					texts++
					if what := wrong(text, file.Name.Name); what != "" {
						t.Errorf("%v: error text %q %s", set.Position(n.Pos()), text, what)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if texts < 100 {
		t.Errorf("only %d error texts found", texts)
	}
}

// errorText returns the text of a call of errors.New or fmt.Errorf.
func errorText(n ast.Node) (string, bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return "", false
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || f.Sel.Name != "New" && f.Sel.Name != "Errorf" {
		return "", false
	}
	if from, ok := f.X.(*ast.Ident); !ok || from.Name != "errors" && from.Name != "fmt" {
		return "", false
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return "", false
	}
	text, err := strconv.Unquote(literal.Value)
	return text, err == nil
}

// wrong says what is wrong with an error text of a package, "" if nothing is.
func wrong(text, pkg string) string {
	word, _, _ := strings.Cut(text, " ")
	switch {
	case text == "":
		return "is empty"
	case word == pkg+":":
		return "begins with its package"
	case unicode.IsUpper(rune(text[0])) && strings.IndexFunc(word[1:], unicode.IsUpper) < 0:
		return "begins with a capital"
	case strings.ContainsAny(text[len(text)-1:], ".!\n"):
		return "ends in punctuation"
	}
	return ""
}
