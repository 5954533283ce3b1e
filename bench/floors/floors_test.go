package main

import (
	"os"
	"testing"
	"time"
)

// TestMain makes this binary the process of the clients when it is asked to, as main does.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-dial" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestFloors(t *testing.T) {
	for name, floor := range map[string]func() (float64, error){
		"write":   func() (float64, error) { return write(50, 1) },
		"batch":   func() (float64, error) { return write(50, frames) },
		"upgrade": func() (float64, error) { return upgrade(50) },
	} {
		if cost, err := floor(); err != nil || cost <= 0 {
			t.Errorf("%s: %v, %v", name, cost, err)
		}
	}
	if _, err := accept(50, 100, time.Millisecond); err != nil { // so few may need no new page
		t.Errorf("accept: %v", err)
	}
}
