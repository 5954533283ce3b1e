package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// maxConfig is how long a configuration file may be, in bytes.
const maxConfig = 1 << 20

// notInFile are flags that a file cannot have.
var notInFile = []string{"config", "help"}

// setting is what a configuration file says about one flag.
type setting struct {
	line  int
	kind  reflect.Kind // Slice for a list, Map for a mapping, else 0
	texts []string     // as they are written: one, or those of the list, or what the command line would have for each of the mapping
}

// configFile is a kong.Resolver: the flags' values of a file, under the flags' names. It stands behind the command line and the
// environment. kong's own resolvers stand before the environment, and know neither lines nor keys that mean nothing.
type configFile map[string]setting

// BeforeResolve reads the file of --config. It is called by the flag parser.
func (c *serveCommand) BeforeResolve(ctx *kong.Context) error {
	var flags []*kong.Flag
	path := ""
	node := ctx.Selected()
	if node == nil {
		node = ctx.Model.Node // where serve is the whole program
	}
	for _, f := range node.Flags {
		if f.Name == "config" {
			path, _ = ctx.FlagValue(f).(string)
		}
		if !slices.Contains(notInFile, f.Name) {
			flags = append(flags, f)
		}
	}
	if path == "" {
		return nil
	}
	file, err := openConfig(path)
	if err == nil {
		err = file.check(flags)
	}
	if err != nil {
		return fmt.Errorf("--config %s: %w", path, err)
	}
	ctx.AddResolver(file)
	return nil
}

func openConfig(path string) (configFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, err
	}
	return parseConfig(text)
}

var (
	errNoMapping = errors.New("want names of flags with their values, such as addr: \":3000\"")
	errNoValue   = errors.New("has no value")
	errNoScalar  = errors.New("wants a value, a list of values or a mapping to values")
)

// parseConfig reads YAML or JSON: a mapping of names to scalars, lists of scalars and mappings of scalars.
func parseConfig(text []byte) (configFile, error) {
	switch {
	case len(text) > maxConfig:
		return nil, fmt.Errorf("longer than %d bytes", maxConfig)
	case json.Valid(text): // which the YAML library does not read in full: tabs, \/ and pairs of surrogates
		return parseJSON(text)
	}
	return parseYAML(text)
}

func parseYAML(text []byte) (configFile, error) {
	documents := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	switch err := documents.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return configFile{}, nil
	case err != nil:
		return nil, err
	}
	if err := documents.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document")
	}
	root := doc.Content[0]
	switch {
	case root.Tag == "!!null":
		return configFile{}, nil
	case root.Kind != yaml.MappingNode:
		return nil, errNoMapping
	}
	file := configFile{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		items, s := []*yaml.Node{value}, setting{line: key.Line}
		switch value.Kind {
		case yaml.SequenceNode:
			s.kind, items = reflect.Slice, value.Content
		case yaml.MappingNode:
			s.kind, items = reflect.Map, value.Content
		}
		for _, item := range items {
			switch {
			case item.Tag == "!!null":
				return nil, fmt.Errorf("line %d: %s %w", key.Line, key.Value, errNoValue)
			case item.Kind != yaml.ScalarNode:
				return nil, fmt.Errorf("line %d: %s %w", key.Line, key.Value, errNoScalar)
			}
			s.texts = append(s.texts, item.Value)
		}
		if s.kind == reflect.Map {
			s.texts = pairs(s.texts)
		}
		if err := file.add(key.Value, s); err != nil {
			return nil, err
		}
	}
	return file, nil
}

// parseJSON reads text that is valid.
func parseJSON(text []byte) (configFile, error) {
	tokens := json.NewDecoder(bytes.NewReader(text))
	tokens.UseNumber()
	switch first, _ := tokens.Token(); first {
	case nil: // null
		return configFile{}, nil
	case json.Delim('{'):
	default:
		return nil, errNoMapping
	}
	file := configFile{}
	for tokens.More() {
		key, _ := tokens.Token()
		name, _ := key.(string)
		s := setting{line: 1 + bytes.Count(text[:tokens.InputOffset()], []byte("\n"))}
		var value any
		_ = tokens.Decode(&value)
		items := []any{value}
		switch value := value.(type) {
		case []any:
			s.kind, items = reflect.Slice, value
		case map[string]any:
			s.kind, items = reflect.Map, nil
			for _, key := range slices.Sorted(maps.Keys(value)) {
				items = append(items, key, value[key])
			}
		}
		for _, item := range items {
			switch item.(type) {
			case nil:
				return nil, fmt.Errorf("line %d: %s %w", s.line, name, errNoValue)
			case map[string]any, []any:
				return nil, fmt.Errorf("line %d: %s %w", s.line, name, errNoScalar)
			}
			s.texts = append(s.texts, fmt.Sprint(item))
		}
		if s.kind == reflect.Map {
			s.texts = pairs(s.texts)
		}
		if err := file.add(name, s); err != nil {
			return nil, err
		}
	}
	return file, nil
}

// pairs makes "key=value" of keys and values in turns.
func pairs(texts []string) []string {
	var list []string
	for i := 0; i+1 < len(texts); i += 2 {
		list = append(list, texts[i]+"="+texts[i+1])
	}
	return list
}

func (c configFile) add(name string, s setting) error {
	if _, twice := c[name]; twice {
		return fmt.Errorf("line %d: %s is there twice", s.line, name)
	}
	c[name] = s
	return nil
}

// check refuses names that are none of flags, and values that their flag does not take, also where the command line or the
// environment have another one.
func (c configFile) check(flags []*kong.Flag) error {
	byName := map[string]*kong.Flag{}
	for _, f := range flags {
		byName[f.Name] = f
	}
	names := make([]string, 0, len(c))
	for name := range c {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return c[a].line - c[b].line })
	for _, name := range names {
		s, f := c[name], byName[name]
		if f == nil {
			return fmt.Errorf("line %d: unknown key %q%s", s.line, name, suggest(name, flags))
		}
		if s.kind != 0 && f.Target.Kind() != s.kind {
			return fmt.Errorf("line %d: %s takes no %s", s.line, name, map[reflect.Kind]string{reflect.Slice: "list", reflect.Map: "mapping"}[s.kind])
		}
		trial := reflect.New(f.Target.Type()).Elem()
		token := kong.Token{Type: kong.FlagValueToken, Value: s.value(f)}
		if err := f.Parse(kong.ScanFromTokens(token), trial); err != nil {
			return fmt.Errorf("line %d: %w", s.line, err)
		}
	}
	return nil
}

// value is what the command line would have behind the flag's equals sign.
func (s setting) value(f *kong.Flag) string {
	switch s.kind {
	case reflect.Slice:
		return kong.JoinEscaped(s.texts, f.Tag.Sep)
	case reflect.Map:
		return kong.JoinEscaped(s.texts, f.Tag.MapSep)
	}
	return s.texts[0]
}

// Validate implements kong.Resolver. What is wrong with the file has been told before.
func (configFile) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver.
func (c configFile) Resolve(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	s, ok := c[f.Name]
	if !ok || inEnvironment(f) {
		return nil, nil
	}
	return s.value(f), nil
}

func inEnvironment(f *kong.Flag) bool {
	return slices.ContainsFunc(f.Tag.Envs, func(name string) bool {
		_, set := os.LookupEnv(name)
		return set
	})
}

// suggest names the flag that somebody may have meant who wrote another one's name.
func suggest(name string, flags []*kong.Flag) string {
	plain := strings.NewReplacer("-", "", "_", "")
	wanted := strings.ToLower(plain.Replace(name))
	best, least := "", len(wanted)/3+1
	for _, f := range flags {
		if d := distance(wanted, plain.Replace(f.Name)); d < least {
			best, least = f.Name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// maxWord bounds the words that distance compares.
const maxWord = 100

// distance counts the letters to insert, remove or replace that make a word of another (Levenshtein).
func distance(a, b string) int {
	if len(a) > maxWord {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
