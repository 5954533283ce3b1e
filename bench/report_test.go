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
	b.add("sparse-500", sockeyePoller, figures{31, 1, 2, 3, 0, 0, 0})
	b.add("sparse-500", rustServer, figures{20, 0.5, 1, 2, 0, 0, 0})
	b.add("sparse-500", gobwasLoop, figures{25, 1, 3, 4, 0, 0, 0})
	b.add("sparse-500", floorName, figures{14, 0.2, 0.5, 1, 0, 0, 0})
	b.Missing[bunServer] = "no such file"
	b.fail("single", zishangServer, errors.New("it\nfell over"))
	return b
}

func TestMarkdown(t *testing.T) {
	text := example().markdown()
	for _, want := range []string{
		"| CPU per delivered message, one broadcast at a time | us | 1.25 x floor = 7.50 | **6.00** | - | 27.0 | - | - | - | - | - | - | 6.00 | 4.50 | sockeye |",
		"| memory per idle client, slope between 2000 and 10000 | KB | 4.5; 8 | **4.40** | 9.00 | - | - | - | - | - | - | - | 1.20 | - | sockeye |",
		"| jitter with recovery: messages not delivered | % | 0 | **0.00** | - | 0.50 | - | - | - | - | - | - | - | - | sockeye |",
		"| jitter with recovery: p99 from the attempt to connect to CONNECT | ms | 1000 | **900** | - | 1900 | - | - | - | - | - | - | - | 2.11 | sockeye |",
		"| sockeye | 5 | yes | yes | 0 |",
		"| node | 2 | no, 5 not | no, 3 not | 1 |",
		"- single, zishang520: it fell over",
		"32 or more = 32.0 | **31.0** | - | - | - | 20.0 | - | - | 25.0 | - | 14.0 | - | socketioxide |",
		"| 500 echoes a second beside 2000 idle clients: p99 latency | ms |  | 2.00 | - | - | - | 1.00 | - | - | 3.00 | - | 0.50 | - | socketioxide |",
		"| floor | 1 | yes | yes | 0 |",
		"bun was not measured: no such file.",
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
	if n := strings.Count(text, "<rect"); n != 1+3+3+2+3*2+4*4 { // the ground, three of idle, three and two of single, two in each row of jitter-recovery, four in each of sparse-500
		t.Errorf("%d rectangles in\n%s", n, text)
	}
}

// TestResult reads what `sockeye bench --json` writes.
func TestResult(t *testing.T) {
	var r result
	if err := json.Unmarshal([]byte(`{"latency":{"p50_ms":1,"p99_ms":2.5,"p999_ms":3},"connections":{"lost":1},"messages":{"lost":2},
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
