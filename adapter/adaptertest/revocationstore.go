package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// NewRevocationStores returns two ways to the same storage, which is empty: those of two nodes. What it opens it closes with t.Cleanup.
type NewRevocationStores func(t *testing.T) (a, b adapter.RevocationStore)

// RunRevocationStore runs the suite that every adapter.RevocationStore passes.
func RunRevocationStore(t *testing.T, newStores NewRevocationStores) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, a, b adapter.RevocationStore)
	}{
		{"Order", testRevocationOrder},
		{"Many", testRevocationsMany},
		{"Racing", testRevocationsRacing},
		{"ContextEnds", testRevocationContextEnds},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := newStores(t)
			test.run(t, a, b)
		})
	}
}

func revocation(user string, before int64) adapter.Revocation {
	return adapter.Revocation{User: user, Before: time.UnixMilli(before)}
}

// readAll reads from a cursor to the end.
func readAll(t *testing.T, s adapter.RevocationStore, cursor string) (all []adapter.Revocation, end string) {
	t.Helper()
	for {
		list, next, err := s.Revocations(within(t), cursor)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			if next != cursor {
				t.Errorf("nothing came behind cursor %q, and the next one is %q", cursor, next)
			}
			return all, next
		}
		all, cursor = append(all, list...), next
	}
}

func revokeAll(t *testing.T, s adapter.RevocationStore, list ...adapter.Revocation) {
	t.Helper()
	for _, r := range list {
		if err := s.Revoke(within(t), r, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
}

// testRevocationOrder: each way tells what the other has kept, in order, from the beginning and from anywhere.
func testRevocationOrder(t *testing.T, a, b adapter.RevocationStore) {
	if all, _ := readAll(t, a, ""); len(all) > 0 {
		t.Fatalf("an empty storage tells %v", all)
	}
	first := []adapter.Revocation{revocation("ann", 1), revocation("ann", 1_700_000_000_123), revocation("日本 \x00\n#", 5)}
	revokeAll(t, a, first...)
	all, end := readAll(t, b, "")
	if !reflect.DeepEqual(all, first) {
		t.Errorf("told %v", all)
	}
	then := []adapter.Revocation{revocation("bob", 7), revocation("ann", 3)}
	revokeAll(t, b, then...)
	if all, _ := readAll(t, b, end); !reflect.DeepEqual(all, then) {
		t.Errorf("then told %v", all)
	}
	if all, _ := readAll(t, a, ""); len(all) != 5 {
		t.Errorf("in all told %v", all)
	}
	odd := adapter.Revocation{User: "odd", Before: time.UnixMilli(9).Add(999 * time.Microsecond)}
	_, end = readAll(t, a, end)
	revokeAll(t, a, odd)
	if all, _ := readAll(t, b, end); !reflect.DeepEqual(all, []adapter.Revocation{revocation("odd", 9)}) {
		t.Errorf("of a part of a millisecond told %v", all)
	}
}

// testRevocationsMany: there may be more than are told at once.
func testRevocationsMany(t *testing.T, a, b adapter.RevocationStore) {
	const many = 2500
	for i := range many {
		revokeAll(t, a, revocation(fmt.Sprint("user ", i), int64(i+1)))
	}
	all, _ := readAll(t, b, "")
	if len(all) != many {
		t.Fatalf("%d were told", len(all))
	}
	for i, r := range all {
		if r.Before.UnixMilli() != int64(i+1) {
			t.Fatalf("number %d is %v", i, r)
		}
	}
}

// testRevocationsRacing: who reads along misses nothing of what several write.
func testRevocationsRacing(t *testing.T, a, b adapter.RevocationStore) {
	const each = 200
	var writing sync.WaitGroup
	for w, s := range []adapter.RevocationStore{a, b, a, b} {
		writing.Go(func() {
			for i := range each {
				if err := s.Revoke(within(t), revocation(fmt.Sprint(w), int64(i+1)), time.Hour); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		writing.Wait()
	}()
	defer func() { <-done }() // the writers speak to t
	latest, cursor, count := map[string]int64{}, "", 0
	for over := false; ; {
		list, next, err := b.Revocations(within(t), cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			if ms := r.Before.UnixMilli(); ms != latest[r.User]+1 {
				t.Fatalf("of writer %s came %d after %d", r.User, ms, latest[r.User])
			}
			latest[r.User]++
			count++
		}
		cursor = next
		if over && len(list) == 0 {
			break
		}
		select {
		case <-done:
			over = true
		default:
		}
	}
	if count != 4*each {
		t.Errorf("%d were told", count)
	}
}

func testRevocationContextEnds(t *testing.T, a, _ adapter.RevocationStore) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Revoke(ctx, revocation("ann", 1), time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("Revoke: %v", err)
	}
	if _, _, err := a.Revocations(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Revocations: %v", err)
	}
}
