package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/server/servertest"
)

func TestUpload(t *testing.T) {
	srv, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	kit := servertest.New(t, srv, nil)
	sender, other := kit.Connect(t, "/", nil), kit.Connect(t, "/", nil)
	sent := file{Name: "zeros.bin", Data: bytes.Repeat([]byte{0, 255}, 1<<19)}
	sum := sha256.Sum256(sent.Data)

	var got receipt
	if err := sender.EmitWithAck("upload", sent).Unmarshal(0, &got); err != nil {
		t.Fatal(err)
	}
	if want := (receipt{"zeros.bin", 1 << 20, hex.EncodeToString(sum[:])}); got != want {
		t.Errorf("receipt %+v, want %+v", got, want)
	}
	other.Expect("uploaded", sent)
}

func TestTooLarge(t *testing.T) {
	srv, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	client := servertest.New(t, srv, nil).Connect(t, "/", nil)
	client.Client().Send(`451-["upload",{"name":"big","data":{"_placeholder":true,"num":0}}]`)
	// The write fails or not, depending on how much of it the server had read when it closed.
	_ = client.Client().Write(t.Context(), servertest.Packet{Data: strings.Repeat("x", maxFile+1), Binary: true})
	if end := client.Client().ExpectClosed(); end.Code != 1006 || end.Reason != "EOF" {
		t.Errorf("closed with %+v, want an end without a close frame", end)
	}
}
