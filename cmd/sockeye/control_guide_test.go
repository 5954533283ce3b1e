package main

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestControlGuide runs the curl commands of docs/control-api.md against a node, with a client of its own.
func TestControlGuide(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/control-api.md")
	if err != nil {
		t.Fatal(err)
	}
	token := tokenFile(t, "operator-0123456789")
	key := keyFile(t)
	n := startNode(t, "n", []string{"--admin-addr", "127.0.0.1:0", "--admin-token-file", token, "--auth", "jwt", "--jwt-key", key})
	ann := openPolling(t, n.addr)
	ann.send(withToken(printed(t, "token", "--jwt-key", key, "--user", "ann")))
	ann.await("40{")
	ann.send(`420["login","ann"]`)
	ann.await("430[")
	values := strings.NewReplacer("$TOKEN", "operator-0123456789", "$ADMIN", strings.TrimSuffix(n.operators(), "/"))
	commands := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for _, line := range strings.Split(strings.TrimSpace(block[1]), "\n") {
			commands++
			runCurl(t, line, values)
		}
	}
	if commands < 17 {
		t.Errorf("only %d commands were found", commands)
	}
}

var shellWord = regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s'"]+`)

// runCurl does what a curl command of the guide would.
func runCurl(t *testing.T, line string, values *strings.Replacer) {
	t.Helper()
	words := shellWord.FindAllString(line, -1)
	for i, w := range words {
		if !strings.HasPrefix(w, "'") {
			w = values.Replace(w) // the shell leaves single quotes alone
		}
		words[i] = strings.Trim(w, `'"`)
	}
	method, target, body, header := "", "", "", make(http.Header)
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "-N":
		case "-X", "-H", "-d":
			i++
			switch name, value, _ := strings.Cut(words[i], ": "); words[i-1] {
			case "-H":
				header.Set(name, value)
			case "-X":
				method = words[i]
			default:
				body = words[i]
			}
		default:
			target = words[i]
		}
	}
	if method == "" && body != "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	r.Header = header
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	defer resp.Body.Close()
	start := make([]byte, 512)
	length, _ := io.ReadAtLeast(resp.Body, start, 20) // a trace does not end
	if resp.StatusCode != http.StatusOK || words[0] != "curl" {
		t.Errorf("%s: %s %s", line, resp.Status, start[:length])
	}
}
