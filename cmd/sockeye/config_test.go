package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// configured parses flags of serve.
func configured(t *testing.T, args ...string) (*serveCommand, error) {
	t.Helper()
	var cli struct {
		Serve serveCommand `cmd:""`
	}
	parser, err := kong.New(&cli, kong.DefaultEnvars("SOCKEYE"), durations)
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(append([]string{"serve"}, args...))
	return &cli.Serve, err
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const inYAML = `
# of the cluster in the cellar
addr: :4000
ping-interval: 10s
ping-timeout: 9s
max-http-buffer-size: 2000000
allow-upgrades: false
cors-origin: [https://a.example, "https://b.example"]
transports: websocket
trusted-proxies:
  - 10.0.0.0/8
  - 127.0.0.1
log-level: warn
limit-connections: 0
limit-events: 50:200:drop
limit-event: {"a": 5, b: "off"}
`

const inJSON = `{
	"addr": ":4000", "ping-interval": "10s", "ping-timeout": "9s",
	"max-http-buffer-size": 2000000, "allow-upgrades": false, "cors-origin": ["https:\/\/a.example", "https://b.example"],
	"transports": "websocket", "trusted-proxies": ["10.0.0.0/8", "127.0.0.1"], "log-level": "warn",
	"limit-connections": 0, "limit-events": "50:200:drop", "limit-event": {"b": "off", "a": 5}
}`

// TestConfigFile reads the same from both kinds of file as from flags.
func TestConfigFile(t *testing.T) {
	want, err := configured(t, "--addr=:4000", "--ping-interval=10s", "--ping-timeout=9s", "--max-http-buffer-size=2000000",
		"--no-allow-upgrades", "--cors-origin=https://a.example,https://b.example", "--transports=websocket",
		"--trusted-proxies=10.0.0.0/8,127.0.0.1", "--log-level=warn",
		"--limit-connections=0", "--limit-events=50:200:drop", "--limit-event=a=5;b=off")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"sockeye.yaml": inYAML, "sockeye.json": inJSON} {
		got, err := configured(t, "--config", writeFile(t, name, text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got.Config = ""
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// TestConfigPrecedence has each of three flags in all the places that come behind it.
func TestConfigPrecedence(t *testing.T) {
	path := writeFile(t, "sockeye.yaml", "ping-interval: 1s\nping-timeout: 1s\nack-timeout: 1s\n")
	t.Setenv("SOCKEYE_CONFIG", path)
	t.Setenv("SOCKEYE_PING_INTERVAL", "2s")
	t.Setenv("SOCKEYE_PING_TIMEOUT", "2s")
	got, err := configured(t, "--ping-interval=3s")
	if err != nil {
		t.Fatal(err)
	}
	if got.PingInterval != 3*time.Second || got.PingTimeout != 2*time.Second || got.AckTimeout != time.Second || got.UpgradeTimeout != 10*time.Second {
		t.Errorf("command line %v, environment %v, file %v, default %v", got.PingInterval, got.PingTimeout, got.AckTimeout, got.UpgradeTimeout)
	}
}

// TestBadConfigFiles holds that each refusal names the key and the line, also where another place overrides the value.
func TestBadConfigFiles(t *testing.T) {
	t.Setenv("SOCKEYE_ACK_TIMEOUT", "1s")
	for text, want := range map[string]string{
		"addr: :1\nping-intervall: 1s":              `line 2: unknown key "ping-intervall", did you mean "ping-interval"?`,
		"pingInterval: 1s":                          `unknown key "pingInterval", did you mean "ping-interval"?`,
		"max_http_buffer_size: 1":                   `did you mean "max-http-buffer-size"?`,
		"weather: fine":                             `line 1: unknown key "weather"`,
		"help: true":                                `unknown key "help"`,
		"config: other.yaml":                        `unknown key "config"`,
		"no-allow-upgrades: true":                   `did you mean "allow-upgrades"?`,
		"\nping-interval: soon":                     `line 2: --ping-interval: "soon" is no duration`,
		"ack-timeout: 100":                          `"100" has no unit`,
		"max-sessions: many":                        "line 1: --max-sessions",
		"max-sessions:":                             "line 1: max-sessions has no value",
		"max-sessions: [1]":                         "max-sessions takes no list",
		"cors-origin: [[a]]":                        "wants a value, a list of values",
		"addr: {host: a}":                           "addr takes no mapping",
		"addr: :1\naddr: :2":                        "addr is there twice",
		`{"addr": ":1", "addr": ":2"}`:              "addr is there twice",
		"{\n\"addr\": \":1\",\n\"max-sesions\": 1}": `line 3: unknown key "max-sesions", did you mean "max-sessions"?`,
		`{"addr": null}`:                            "line 1: addr has no value",
		`{"addr": {"host": "a"}}`:                   "addr takes no mapping",
		"limit-event: {a: [1]}":                     "wants a value, a list of values",
		`["addr"]`:                                  "want names of flags",
		"- addr":                                    "want names of flags",
		"just text":                                 "want names of flags",
		"addr: :1\n---\naddr: :2":                   "more than one document",
		"a: &a [*a]":                                "wants a value, a list of values",
		"addr: 'x":                                  "found unexpected end of stream",
		"\ttab: 1":                                  "found character that cannot start any token",
		"app: mail":                                 "--app must be one of",
		"adapter: sharded":                          "--adapter needs --redis",
		"redis: [redis://a]\nadapter: pigeon":       "--adapter must be one of",
		"trusted-proxies: router":                   `trusted proxy "router" is neither`,
		"# " + strings.Repeat("long", maxConfig):    "longer than",
	} {
		path := writeFile(t, "bad.yaml", text)
		for _, command := range []string{"serve", "check-config"} {
			var stdout, stderr bytes.Buffer
			if status := run(t.Context(), []string{command, "--config", path}, &stdout, &stderr); status != exitUsage {
				t.Errorf("%s with %.50q: status %d, want %d", command, text, status, exitUsage)
			}
			if got := stderr.String(); !strings.Contains(got, want) || stdout.Len() > 0 {
				t.Errorf("%s with %.50q printed %q, want %q", command, text, got, want)
			}
		}
	}
	for _, text := range []string{"", "# nothing\n", "null", "{}", "---\naddr: :1\n"} {
		if _, err := configured(t, "--config", writeFile(t, "few.yaml", text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestCheckConfig takes what a node would take, with a Redis that is not there, and refuses what only a start would find.
func TestCheckConfig(t *testing.T) {
	cert, key, _ := selfSigned(t)
	broker := "--redis=redis://" + redistest.FreeAddr(t)
	for _, tc := range []struct {
		args []string
		want string // "" is valid
	}{
		{nil, ""},
		{[]string{"--app", "engine"}, ""},
		{[]string{broker, "--broker-required", "--tls-cert", cert, "--tls-key", key, "--peer-tls-cert", cert, "--peer-tls-key", key, "--peer-tls-ca", cert}, ""},
		{[]string{broker, "--peer-addr", "192.0.2.7:3100", "--peer-advertise", "node.example:0"}, ""},
		{[]string{"--path", "no-slash"}, "must start with a slash"},
		{[]string{"--ping-interval=-1s"}, "ping interval"},
		{[]string{"--tls-cert", "main.go", "--tls-key", "main.go"}, "--tls-cert"},
		{[]string{"--admin-addr", ":0", "--admin-tls-cert", "main.go", "--admin-tls-key", "main.go"}, "--admin-tls-cert"},
		{[]string{"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", "main.go"}, "read authorities"},
		{[]string{broker + "?db=none"}, "--redis"},
		{[]string{broker, "--cluster-secret", "short"}, "at least 16"},
		{[]string{broker, "--peer-addr", "0.0.0.0:0"}, "Advertise"},
		{[]string{broker, "--peer-addr", "nowhere"}, "missing port"},
		{[]string{broker, "--peer-advertise", "here"}, "not host:port"},
		{[]string{broker, "--peer-tls-cert", "main.go", "--peer-tls-key", "main.go", "--peer-tls-ca", "main.go"}, "--peer-tls-cert"},
	} {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), append([]string{"check-config"}, tc.args...), &stdout, &stderr)
		switch {
		case tc.want == "" && (status != 0 || stdout.String() != "the configuration is valid\n"):
			t.Errorf("%q: status %d, %q, %q", tc.args, status, stdout.String(), stderr.String())
		case tc.want != "" && (status != exitUsage || !strings.Contains(stderr.String(), tc.want)):
			t.Errorf("%q: status %d, %q, want %q", tc.args, status, stderr.String(), tc.want)
		}
	}
}

// TestConfigCommand reads what the command prints back, and looks for secrets in it.
func TestConfigCommand(t *testing.T) {
	t.Setenv("SOCKEYE_CLUSTER_SECRET", "a secret of the cluster")
	args := []string{
		"--config", writeFile(t, "sockeye.yaml", inYAML), "--cookie", "yes", "--no-serve-client", "--max-rooms", "7",
		"--redis", "redis://user:pa55word@a:6379/1?master_name=m&sentinel_password=pa55word", "--redis", "redis://b:6379",
	}
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), append([]string{"config"}, args...), &stdout, &stderr); status != 0 {
		t.Fatalf("status %d, %s", status, stderr.String())
	}
	text := stdout.String()
	for _, secret := range []string{"a secret of the cluster", "pa55word"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in\n%s", secret, text)
		}
	}
	for _, line := range []string{
		"# Connections", "ping-interval: 10s", "cookie: yes", "serve-client: false", "max-rooms: 7", "cluster-secret: xxxxx", "log-level: warn",
		"limit-connections: 0", "limit-events: 50:200:drop", `limit-event: {a: "5", b: off}`,
		"trusted-proxies: [10.0.0.0/8, 127.0.0.1/32]", "redis: ['redis://user:xxxxx@a:6379/1?master_name=m&sentinel_password=xxxxx', 'redis://b:6379']",
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	want, err := configured(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := configured(t, "--config", writeFile(t, "printed.yaml", text), "--redis", want.Redis[0], "--redis", want.Redis[1])
	if err != nil {
		t.Fatal(err)
	}
	want.Config, got.Config = "", ""
	if !reflect.DeepEqual(got, want) { // the secret is the environment's in both
		t.Errorf("read back %+v, want %+v", got, want)
	}
}

// soundsSecret are words in the names of flags that may hold what nobody else should see.
var soundsSecret = regexp.MustCompile(`secret|token|password|credential|key|redis|url`)

// TestSecretFlags holds that no flag with such a word is forgotten: it is hidden, or names a file, or is known to be harmless.
func TestSecretFlags(t *testing.T) {
	harmless := map[string]bool{"key": true, "cors-credentials": true, "redis-parser": true}
	parser, err := kong.New(&struct{ serveCommand }{})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range parser.Model.Flags {
		isText := f.Target.Kind() == reflect.String || f.Target.Kind() == reflect.Slice
		isFile := f.Tag.Type == "existingfile" || f.Tag.Type == "path" || strings.HasSuffix(f.Name, "-file")
		switch secret := f.Tag.Get("secret"); {
		case secret == secretWhole || secret == secretURL:
			found++
		case secret != "":
			t.Errorf("--%s: no such kind of secret: %q", f.Name, secret)
		case isText && !isFile && !harmless[f.Name] && soundsSecret.MatchString(f.Name):
			t.Errorf("sockeye config shows --%s: tag it secret:%q or secret:%q, or say here that it is harmless", f.Name, secretWhole, secretURL)
		}
	}
	if found < 2 {
		t.Errorf("%d secrets, there are at least --cluster-secret and --redis", found)
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, seed := range []string{inYAML, inJSON, "a: &a [*a]", "a: !!binary x", "? [a]\n: b", "a: |\n  b\n", "---\n...\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := parseConfig(text)
		for name, s := range file {
			if err != nil || s.line < 1 || s.kind == 0 && len(s.texts) != 1 {
				t.Errorf("%q: %+v, %v", name, s, err)
			}
		}
	})
}
