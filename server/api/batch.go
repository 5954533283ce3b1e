package api

import "context"

// maxBatch bounds the operations of one request.
const maxBatch = 1000

// batch is operations that are done one after the other.
type batch struct {
	Operations []operation `json:"operations"`
}

// operation is one of them; exactly one field is set.
type operation struct {
	Publish    *publication   `json:"publish,omitempty"`
	Disconnect *disconnection `json:"disconnect,omitempty"`
	Join       *membership    `json:"join,omitempty"`
	Leave      *departure     `json:"leave,omitempty"`
}

// batchAnswer has one result for each operation, in their order.
type batchAnswer struct {
	Results []batchResult `json:"results"`
	Failed  int           `json:"failed"` // results that are errors
}

// batchResult is what the operation alone would have been answered.
type batchResult struct {
	*done
	Error *failure `json:"error,omitempty"`
}

// batch does operations one after the other. One that fails stops no other.
func (a *API) batch(ctx context.Context, b batch) (any, error) {
	if len(b.Operations) == 0 || len(b.Operations) > maxBatch {
		return nil, invalid("a batch has 1 to %d operations", maxBatch)
	}
	answer := batchAnswer{Results: make([]batchResult, len(b.Operations))}
	for i := range b.Operations {
		result, err := a.operate(ctx, &b.Operations[i])
		if err != nil {
			answer.Results[i].Error = failureOf(err)
			answer.Failed++
			continue
		}
		d := result.(done)
		answer.Results[i].done = &d
	}
	return answer, nil
}

func (a *API) operate(ctx context.Context, o *operation) (any, error) {
	set := 0
	for _, given := range []bool{o.Publish != nil, o.Disconnect != nil, o.Join != nil, o.Leave != nil} {
		if given {
			set++
		}
	}
	switch {
	case set != 1:
		return nil, invalid("an operation is one of publish, disconnect, join, leave")
	case o.Publish != nil:
		return a.publish(ctx, *o.Publish)
	case o.Disconnect != nil:
		return a.disconnect(ctx, *o.Disconnect)
	case o.Join != nil:
		return a.join(ctx, *o.Join)
	}
	return a.leave(ctx, *o.Leave)
}
