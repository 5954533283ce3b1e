package jsontext

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzScan compares the scanner with encoding/json, and what skips with what scans.
func FuzzScan(f *testing.F) {
	for _, text := range []string{
		`null`, `[true,false]`, `{"a":{"b":[1,2.5e-7,"x"]}, "c" : -0}`, `"\ud83e\udd8a\ud83e\u0041\n\/"`, `[[[[]]]]`, `{"a":1,}`,
		`01`, `-`, `1.`, `1e`, `"`, `"\u12"`, "\"\x01\"", `nul`, `{"a"}`, `[1 2]`, ` [ ] `, `"ünïcödé 水"`, `1e999`,
		`"` + strings.Repeat("long enough for groups of eight ", 4) + `\"` + `"`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		const depth = 100
		start := SkipSpace(text, 0)
		end := ScanValue(text, start, depth)
		if end == TooDeep {
			return
		}
		valid := end >= 0 && SkipSpace(text, end) == len(text)
		if want := json.Valid(text); valid != want {
			t.Fatalf("valid %v, want %v", valid, want)
		}
		if !valid {
			return
		}
		switch c := text[start]; {
		case c == '"':
			if got := SkipString(text, start); got != end {
				t.Errorf("the string ends at %d, skipped to %d", end, got)
			}
			checkString(t, text[start:end])
		case c != '{' && c != '[':
			if got := SkipScalar(text, start); got != end {
				t.Errorf("the scalar ends at %d, skipped to %d", end, got)
			}
			if c == '-' || IsDigit(c) {
				checkNumber(t, text[start:end])
			}
		}
	})
}

func checkString(t *testing.T, quoted []byte) {
	plain, lone := AppendUnescaped(nil, quoted[1:len(quoted)-1])
	if !lone && !utf8.Valid(plain) {
		t.Errorf("%q is not UTF-8", plain)
	}
	if !utf8.Valid(quoted) {
		return // encoding/json replaces byte by byte
	}
	var want string
	if err := json.Unmarshal(quoted, &want); err != nil {
		t.Fatal(err)
	}
	if !lone && string(plain) != want {
		t.Errorf("got %q, want %q", plain, want)
	}
	if !lone && !KeyIs(quoted, want) && len(quoted) <= 6*len(want)+2 {
		t.Errorf("%s is not the key %q", quoted, want)
	}
}

func checkNumber(t *testing.T, text []byte) {
	f := ParseNumber(text)
	if math.IsInf(f, 0) {
		return
	}
	again, err := strconv.ParseFloat(string(AppendNumber(nil, f, 64)), 64)
	if err != nil || again != f {
		t.Errorf("%s became %v, %v", AppendNumber(nil, f, 64), again, err)
	}
}

func TestNumbers(t *testing.T) {
	for want, f := range map[string]float64{
		"0": math.Copysign(0, -1), "1e+21": 1e21, "100000000000000000000": 1e20, "0.000001": 1e-6, "1e-7": 1e-7, "1.5e-10": 1.5e-10,
		"5e-324": 5e-324, "NaN": math.NaN(), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1), "9007199254740992": 1 << 53,
	} {
		if got := string(AppendWord(nil, f)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := string(AppendNumber(nil, float64(float32(0.1)), 32)); got != "0.1" {
		t.Errorf("a float32 became %s", got)
	}
}

func TestIllFormed(t *testing.T) {
	for in, want := range map[string]string{
		"a\xffb": "a\ufffdb", "\xf0\x9f\xa6x": "\ufffdx", "\xed\xa0\x80": "\ufffd\ufffd\ufffd", "\xe6\xb0": "\ufffd", "\xc3\xc3\xa9": "\ufffd\u00e9",
	} {
		if got := string(AppendValidUTF8(nil, []byte(in))); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestPlaceholder(t *testing.T) {
	for _, c := range []struct {
		num   string
		index int
		legal bool
	}{{"0", 0, true}, {"1", 1, true}, {"2", 0, false}, {"-1", 0, false}, {"0.5", -1, true}, {"1e0", 1, true}, {`"0"`, 0, false}, {"", 0, false}, {"-0", 0, true}} {
		if index, legal := Placeholder([]byte(c.num), 2); index != c.index || legal != c.legal {
			t.Errorf("%q: %d, %v", c.num, index, legal)
		}
	}
}
