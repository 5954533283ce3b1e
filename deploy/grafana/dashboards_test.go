package main

import (
	"bytes"
	"os"
	"testing"
)

// TestWritten holds the files to the code.
func TestWritten(t *testing.T) {
	for _, d := range dashboards() {
		want, err := encode(d)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(d.file())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the code makes: `cd deploy/grafana && go run .`", d.file())
		}
	}
}
