package msgpack

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecode(t *testing.T) {
	tests := []struct {
		frame, json string
		attachments []string
	}{
		{frame: "c0", json: "null"},
		{frame: "94 00 7f ff e0", json: "[0,127,-1,-32]"},
		{frame: "94 ccff cdffff ceffffffff cf001fffffffffffff", json: "[255,65535,4294967295,9007199254740991]"},
		{frame: "94 d080 d18000 d280000000 d3ffe0000000000001", json: "[-128,-32768,-2147483648,-9007199254740991]"},
		{frame: "cf0020000000000001", json: "9007199254740992"},
		{frame: "cf7fffffffffffffff", json: "9223372036854776000"},
		{frame: "cfffffffffffffffff", json: "18446744073709552000"},
		{frame: "d38000000000000000", json: "-9223372036854776000"},
		{frame: "93 ca3dcccccd ca3f800000 ca80000000", json: "[0.10000000149011612,1,0]"},
		{frame: "92 cb3fb999999999999a cb444b1ae4d6e2ef50", json: "[0.1,1e+21]"},
		{frame: "92 cb3eb0c6f7a0b5ed8d cb3e7ad7f29abcaf48", json: "[0.000001,1e-7]"},
		{frame: "93 cb7ff8000000000000 cb7ff0000000000000 caff800000", json: "[null,null,null]"},
		{frame: "a9 61 c3a4 f09f9880 0a 22", json: `"aä😀\n\""`},
		{frame: "d9 04 00 1f 5c 7f", json: `"\u0000\u001f\\` + "\x7f" + `"`},
		{frame: "a4 61 ff c3 62", json: "\"a\ufffd\ufffdb\""},
		{frame: "a4 f09f98 61", json: "\"\ufffda\""},
		{frame: "a4 eda0bd 21", json: `"\ud83d!"`},
		{frame: "a8 eda0bd edb880 e282", json: `"\ud83d\ude00` + "\ufffd\""},
		{frame: "c403010203", json: `{"_placeholder":true,"num":0}`, attachments: []string{"\x01\x02\x03"}},
		{frame: "92 c400 91 c50001 41", json: `[{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]]`,
			attachments: []string{"", "A"}},
		{frame: "d7ff1d5353006553f100", json: `"2023-11-14T22:13:20.123Z"`},
		{frame: "d6ff00000000", json: `"1970-01-01T00:00:00.000Z"`},
		{frame: "c70cff 3b8b87c0 ffffffffffffffff", json: `"1969-12-31T23:59:59.999Z"`},
		{frame: "c70cff 00000000 ffffff0000000000", json: `"-032873-11-12T23:23:44.000Z"`},
		{frame: "c70cff 00000000 ffff000000000000", json: "null"},
		{frame: "d700 0000018bcfe5687b", json: `"2023-11-14T22:13:20.123Z"`},
		{frame: "d700 fffffffffffffc18", json: `"1969-12-31T23:59:59.000Z"`},
		{frame: "d40000", json: ""},
		{frame: "92 d40000 01", json: "[null,1]"},
		{frame: "83 a161 d40000 a162 01 a163 d40000", json: `{"b":1}`},
		{frame: "c70200 0102", json: `{"_placeholder":true,"num":0}`, attachments: []string{"\x01\x02"}},
		{frame: "d50501ff", json: `[5,{"_placeholder":true,"num":0}]`, attachments: []string{"\x01\xff"}},
		{frame: "d4fe01", json: `[-2,{"_placeholder":true,"num":0}]`, attachments: []string{"\x01"}},
		{frame: "87 01 01 c0 02 c3 03 cbbff8000000000000 04 cb7ff0000000000000 05 c4016b 06 cb7ff8000000000000 07",
			json: `{"1":1,"null":2,"true":3,"-1.5":4,"Infinity":5,"k":6,"NaN":7}`},
		{frame: "83 a162 01 a131 02 a162 03", json: `{"b":1,"1":2,"b":3}`},
		{frame: "82 a95f5f70726f746f5f5f 81 a161 c40100 a162 01", json: `{"b":1}`},
		{frame: "82 ac5f706c616365686f6c646572 c3 a36e756d 00", json: `{"_placeholder":true,"num":0}`},
		{frame: "92 81ac5f706c616365686f6c646572 c2 c400", json: `[{"_placeholder":false},{"_placeholder":true,"num":0}]`,
			attachments: []string{""}},
		{frame: "dd00000001 df00000001 db00000001 61 dc0000", json: `[{"a":[]}]`},
	}
	for _, test := range tests {
		p, err := Decode(unhex(t, test.frame), nil)
		if err != nil || string(p.JSON) != test.json || len(p.Attachments) != len(test.attachments) {
			t.Errorf("%s: %s %q, %v, want %s", test.frame, p.JSON, p.Attachments, err, test.json)
			continue
		}
		for i, a := range p.Attachments {
			if string(a) != test.attachments[i] {
				t.Errorf("%s: attachment %d is %x", test.frame, i, a)
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		frame string
		want  error
	}{
		{"", ErrMalformed}, {"c1", ErrMalformed}, {"cc", ErrMalformed}, {"cf00000000000000", ErrMalformed},
		{"ca0000", ErrMalformed}, {"a2 61", ErrMalformed}, {"d9", ErrMalformed}, {"db7fffffff 61", ErrMalformed},
		{"c6ffffffff", ErrMalformed}, {"92 01", ErrMalformed}, {"ddffffffff 00", ErrMalformed},
		{"81 a161", ErrMalformed}, {"dfffffffff 00", ErrMalformed}, {"dc0002 01", ErrMalformed},
		{"d4", ErrMalformed}, {"d400", ErrMalformed}, {"c7", ErrMalformed}, {"c701", ErrMalformed},
		{"c70105", ErrMalformed}, {"d5ff0000", ErrMalformed}, {"c9ffffffff00", ErrMalformed},
		{"01 02", ErrTrailing}, {"c0 c0", ErrTrailing},
		{"81 90 01", ErrKey}, {"81 80 01", ErrKey}, {"81 d40000 01", ErrKey},
		{"92 81ac5f706c616365686f6c646572 c3 c400", ErrPlaceholder},
		{"92 c400 81ac5f706c616365686f6c646572 c3", ErrPlaceholder},
	}
	for _, test := range tests {
		if p, err := Decode(unhex(t, test.frame), nil); !errors.Is(err, test.want) || p.JSON != nil {
			t.Errorf("%s: %s, %v, want %v", test.frame, p.JSON, err, test.want)
		}
	}
}

func TestDecodeLimits(t *testing.T) {
	arrays := func(n int) string { return strings.Repeat("91", n) + "c0" }
	maps := func(n int) string { return strings.Repeat("81a0", n) + "c0" }
	tests := []struct {
		frame string
		lim   *Limits
		want  error
	}{
		{arrays(maxReadDepth), nil, nil},
		{arrays(maxReadDepth + 1), nil, ErrTooDeep},
		{maps(maxReadDepth), nil, nil},
		{maps(maxReadDepth + 1), nil, ErrTooDeep},
		{arrays(1 << 20), nil, ErrTooDeep},
		{arrays(2), &Limits{MaxDepth: 2}, nil},
		{arrays(3), &Limits{MaxDepth: 2}, ErrTooDeep},
		{"91 d50500 00", &Limits{MaxDepth: 1}, ErrTooDeep},
		{arrays(maxReadDepth + 1), &Limits{MaxDepth: 1 << 20}, ErrTooDeep},
		{"a3616263", &Limits{MaxBytes: 4}, nil},
		{"a3616263", &Limits{MaxBytes: 3}, ErrTooLarge},
		{"92c400c400", &Limits{MaxAttachments: 2}, nil},
		{"93c400c400c400", &Limits{MaxAttachments: 2}, ErrTooLarge},
	}
	for _, test := range tests {
		if _, err := Decode(unhex(t, test.frame), test.lim); !errors.Is(err, test.want) {
			t.Errorf("%.20s (%d): %v, want %v", test.frame, len(test.frame), err, test.want)
		}
	}
}
