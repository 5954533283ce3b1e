package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// description is what the tests look at of openapi.yaml.
type description struct {
	OpenAPI    string `json:"openapi"`
	Paths      map[string]map[string]json.RawMessage
	Components struct {
		Schemas    map[string]json.RawMessage
		Parameters map[string]parameter
		Responses  map[string]response
	}
	compiler *jsonschema.Compiler
}

type parameter struct {
	Ref  string `json:"$ref"`
	Name string
	In   string
}

type schemaRef struct {
	Ref string `json:"$ref"`
}

type content map[string]struct{ Schema schemaRef }

type response struct {
	Ref     string `json:"$ref"`
	Content content
}

type operationDescription struct {
	OperationID string
	Summary     string
	Parameters  []parameter
	RequestBody struct{ Content content }
	Responses   map[string]response
}

var documented = sync.OnceValues(func() (*description, error) {
	var tree any
	if err := yaml.Unmarshal(openAPI, &tree); err != nil {
		return nil, err
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	var d description
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	d.compiler = jsonschema.NewCompiler()
	d.compiler.AssertFormat()
	return &d, d.compiler.AddResource("openapi.json", doc)
})

func describe(t *testing.T) *description {
	t.Helper()
	d, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *description) operation(method, path string) (op operationDescription, ok bool) {
	raw, ok := d.Paths[path][strings.ToLower(method)]
	if ok {
		ok = json.Unmarshal(raw, &op) == nil
	}
	return op, ok
}

// response returns what the document says of the answers with a status.
func (d *description) response(op operationDescription, status int) response {
	r, ok := op.Responses[fmt.Sprint(status)]
	if !ok {
		r = op.Responses["default"]
	}
	if r.Ref != "" {
		r = d.Components.Responses[strings.TrimPrefix(r.Ref, "#/components/responses/")]
	}
	return r
}

// check holds a JSON text against a schema.
func (d *description) check(s schemaRef, text []byte) error {
	schema, err := d.compiler.Compile("openapi.json" + s.Ref)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

// CheckExchange holds a request that was served, and any answer, against the document.
func CheckExchange(t *testing.T, method, path, body string, status int, kind string, answer []byte) {
	t.Helper()
	d := describe(t)
	i := slices.IndexFunc(routes, func(r route) bool { return r.method == method && matches(r.path, path) })
	if i < 0 {
		if status == http.StatusOK {
			t.Errorf("%s %s was served, and is no route", method, path)
		}
		return
	}
	op, ok := d.operation(method, routes[i].path)
	if !ok {
		t.Errorf("the document has no %s %s", method, routes[i].path)
		return
	}
	if status == http.StatusOK && body != "" {
		if err := d.check(op.RequestBody.Content["application/json"].Schema, []byte(body)); err != nil {
			t.Errorf("%s %s %s was served, the document refuses it: %v", method, path, body, err)
		}
	}
	allowed, ok := d.response(op, status).Content[kind]
	switch {
	case !ok:
		t.Errorf("%s %s: the document knows no answer %d of type %q", method, path, status, kind)
	case kind == "application/json":
		if err := d.check(allowed.Schema, answer); err != nil {
			t.Errorf("%s %s: the document does not allow the answer %d %s: %v", method, path, status, answer, err)
		}
	}
}

// matches reports whether a path is one of a route's.
func matches(pattern, path string) bool {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	return slices.EqualFunc(want, got, func(w, g string) bool { return w == g || strings.HasPrefix(w, "{") && g != "" })
}

// TestRoutes: the document has the routes of the code with their parameters, and no other.
func TestRoutes(t *testing.T) {
	d := describe(t)
	if !strings.HasPrefix(d.OpenAPI, "3.1.") {
		t.Errorf("openapi is %q", d.OpenAPI)
	}
	left := make(map[string]bool)
	for path, item := range d.Paths {
		for method := range item {
			if method != "parameters" {
				left[strings.ToUpper(method)+" "+path] = true
			}
		}
	}
	ids := make(map[string]bool)
	for _, r := range routes {
		op, ok := d.operation(r.method, r.path)
		if !ok {
			t.Errorf("the document has no %s %s", r.method, r.path)
			continue
		}
		delete(left, r.method+" "+r.path)
		if op.Summary == "" || op.OperationID == "" || ids[op.OperationID] {
			t.Errorf("%s %s has the summary %q and the id %q", r.method, r.path, op.Summary, op.OperationID)
		}
		ids[op.OperationID] = true
		query, header := d.parameters(op)
		if !slices.Equal(query, slices.Sorted(slices.Values(r.query))) || header != (r.command != nil) {
			t.Errorf("%s %s takes %q, the document says %q, and of the key %v", r.method, r.path, r.query, query, header)
		}
	}
	for route := range left {
		t.Errorf("the document has %s, the code has not", route)
	}
}

// parameters returns the names of those of the query, and whether a key is taken.
func (d *description) parameters(op operationDescription) (query []string, key bool) {
	for _, p := range op.Parameters {
		if p.Ref != "" {
			p = d.Components.Parameters[strings.TrimPrefix(p.Ref, "#/components/parameters/")]
		}
		if p.In == "query" {
			query = append(query, p.Name)
		}
		key = key || p.In == "header" && p.Name == idempotencyHeader
	}
	slices.Sort(query)
	return query, key
}

// TestReferences: whatever the document refers to is in it.
func TestReferences(t *testing.T) {
	d := describe(t)
	for _, name := range slices.Sorted(maps.Keys(d.Components.Schemas)) {
		if _, err := d.compiler.Compile("openapi.json#/components/schemas/" + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
