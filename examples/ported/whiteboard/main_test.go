package main

import (
	"testing"

	"github.com/sockeye-io/sockeye/server/servertest"
)

func TestDrawing(t *testing.T) {
	handler, err := newHandler(nil)
	if err != nil {
		t.Fatal(err)
	}
	kit := servertest.New(t, handler, nil)
	ann, bob, eve := kit.Connect(t, "/", nil), kit.Connect(t, "/", nil), kit.Connect(t, "/", nil)
	first := map[string]any{"x0": 0.5, "y0": 0.25, "x1": 1, "y1": 0, "color": "red"}
	second := map[string]any{"x0": 0, "y0": 1, "x1": 0.125, "y1": 0.75, "color": "blue"}
	ann.Emit("drawing", first)
	bob.Expect("drawing", first)
	eve.Expect("drawing", first)
	bob.Emit("drawing", second)
	ann.Expect("drawing", second) // and nothing of her own before
	eve.Expect("drawing", second)
}
