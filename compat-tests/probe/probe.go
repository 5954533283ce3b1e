// Package probe is the frame of programs that let a test in JavaScript ask a Go package questions.
package probe

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxRequest is the length of the longest request in bytes.
const maxRequest = 64 << 20

// Main reads one JSON request a line on the standard input and writes one JSON answer a line on the standard output, until
// the input ends. An error of answer becomes {"error": its text}; any other ends the program with status 1.
func Main[Request, Answer any](answer func(*Request) (Answer, error)) {
	if err := serve(os.Stdin, os.Stdout, answer); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
}

type failure struct {
	Error string `json:"error"`
}

func serve[Request, Answer any](r io.Reader, w io.Writer, answer func(*Request) (Answer, error)) error {
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxRequest)
	out := bufio.NewWriter(w)
	encoder := json.NewEncoder(out)
	for in.Scan() {
		var q Request
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			return err
		}
		var line any
		a, err := answer(&q)
		if line = a; err != nil {
			line = failure{err.Error()}
		}
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	return out.Flush()
}
