// Package outflow is the way of what goes out to a broker: what waits, what was lost of it, and the counts. It knows no broker.
package outflow

import "slices"

const (
	// tidyAfter is how many items are taken before their space at the front is given up.
	tidyAfter = 1024
	// keptSpace is for how many items an empty queue keeps its space.
	keptSpace = 4096
)

// Queue has what waits, in order. The zero value is empty. Whoever has it guards it.
type Queue[T any] struct {
	items []T
	head  int
}

// Len returns how many items wait.
func (q *Queue[T]) Len() int { return len(q.items) - q.head }

// All returns what waits, until the next change of the queue.
func (q *Queue[T]) All() []T { return q.items[q.head:] }

// First returns the first item of a queue that is not empty.
func (q *Queue[T]) First() T { return q.items[q.head] }

// Push puts an item behind the others.
func (q *Queue[T]) Push(item T) {
	if q.head > tidyAfter && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, item)
}

// Pop takes the first item out of a queue that is not empty.
func (q *Queue[T]) Pop() T {
	var none T
	item := q.items[q.head]
	q.items[q.head] = none
	if q.head++; q.head == len(q.items) {
		q.head = 0
		if q.items = q.items[:0]; cap(q.items) > keptSpace {
			q.items = nil // the burst is over
		}
	}
	return item
}

// PutBack puts items in front of those that wait.
func (q *Queue[T]) PutBack(list []T) {
	if len(list) > 0 {
		q.items, q.head = slices.Concat(list, q.All()), 0
	}
}

// TakeAll empties the queue.
func (q *Queue[T]) TakeAll() []T {
	list := q.All()
	*q = Queue[T]{}
	return list
}

// TakeLast takes the last n items out, all if there are fewer.
func (q *Queue[T]) TakeLast(n int) []T {
	keep := len(q.items) - min(n, q.Len())
	list := slices.Clone(q.items[keep:])
	clear(q.items[keep:])
	q.items = q.items[:keep]
	return list
}

// TakeIf takes those out for which gone is true, and appends them to list.
func (q *Queue[T]) TakeIf(list []T, gone func(T) bool) []T {
	if !slices.ContainsFunc(q.All(), gone) {
		return list
	}
	var left []T
	for _, item := range q.All() {
		if gone(item) {
			list = append(list, item)
		} else {
			left = append(left, item)
		}
	}
	q.items, q.head = left, 0
	return list
}
