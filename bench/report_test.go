package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// example is a book with two runs of one scenario.
func example() *book {
	s := settings{clients: 5000, repeat: 2, hold: time.Second}
	b := newBook(description{CPU: "some CPU", Load: 0.1}, s)
	for _, f := range []float64{5, 9, 6} {
		b.add("single", sockeyePoller, figures{f, 20, 0, 0, 0})
		b.add("single", floorName, figures{f})
	}
	b.add("single", nodeReference, figures{30, 100, 0, 2, 0})
	b.add("single", nodeReference, figures{24, 100, 1, 1, 5})
	b.add("idle", floorName, figures{1200})
	b.add("idle", sockeyePoller, figures{4.4, 0, 0, 0})
	b.add("idle", sockeyeGoroutines, figures{9, 0, 0, 0})
	b.add("jitter-recovery", sockeyePoller, figures{0, 0, 900, 0, 0, 0})
	b.add("jitter-recovery", nodeReference, figures{0.5, 3, 1900, 0, 700, 0})
	b.fail("single", zishangServer, errors.New("it\nfell over"))
	return b
}

func TestMarkdown(t *testing.T) {
	text := example().markdown()
	for _, want := range []string{
		"| CPU per delivered message, one broadcast at a time | us | 1.25 x floor = 7.50 | **6.00** | - | 27.0 | - | 6.00 | 4.50 |",
		"| memory per idle client, slope between 2000 and 10000 | KB | 4.5; 8 | **4.40** | 9.00 | - | - | 1.20 | - |",
		"| jitter with recovery: messages not delivered | % | 0 | **0.00** | - | 0.50 | - | - | - |",
		"| jitter with recovery: p99 from the attempt to connect to CONNECT | ms | 1000 | **900** | - | 1900 | - | - | 2.11 |",
		"- sockeye: 0 / 0 / 0 in 4 runs",
		"- node: 1 / 3 / 5 in 2 runs",
		"- single, zishang520: it fell over",
		"some CPU",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(text, "doubtful") || strings.Contains(text, "| polling") {
		t.Error("there is a warning, or a row without figures")
	}
	if t.Failed() {
		t.Log(text)
	}
	busy := example()
	busy.Machine.Load = 3
	if !strings.Contains(busy.markdown(), "doubtful: the load average was 3.00") {
		t.Error("figures of a busy machine carry no warning")
	}
}

func TestPlot(t *testing.T) {
	text := example().plot()
	for dec := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
	if n := strings.Count(text, "<rect"); n != 1+3+3+2+3*2 { // the ground, three of idle, three and two of single, two in each row of jitter-recovery
		t.Errorf("%d rectangles in\n%s", n, text)
	}
}

// TestResult reads what `sockeye bench --json` writes.
func TestResult(t *testing.T) {
	var r result
	if err := json.Unmarshal([]byte(`{"latency":{"p99_ms":2.5},"connections":{"lost":1},"messages":{"lost":2},
		"server":{"cpu_us_per_operation":3,"bytes_per_client":4000,"bytes_per_client_after_gc":3000},"via":{"cpu_us_per_operation":7},
		"drops":{"share_delivered":0.5,"share_resumed":0.9,"answer":{"p99_ms":8}}}`), &r); err != nil {
		t.Fatal(err)
	}
	for _, sc := range scenarios(settings{clients: 100}) {
		for _, row := range sc.rows {
			if v := row.value(r); v == 0 {
				t.Errorf("%s, %s: no value", sc.Name, row.title)
			}
		}
	}
	if r.Connections.Lost != 1 || r.Messages.Lost != 2 {
		t.Errorf("%+v", r)
	}
}
