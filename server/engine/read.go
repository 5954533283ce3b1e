package engine

import (
	"net"
	"sync"
	"syscall"
)

const (
	readBufferSize = 4 << 10
	// plainBufferSize is what a connection that cannot be waited for without a buffer holds while it waits.
	plainBufferSize = 512
)

// verdict is what a receiver wants of the reading side after a batch.
type verdict uint8

const (
	keepReading  verdict = iota
	pauseReading         // nothing until awaitResume returns
)

// receiver is the seam between the way connections are read and what is above it. A reader calls one method at a time.
// Nothing above may assume how many goroutines there are: a connection that the poller watches has none (readpoll.go).
type receiver interface {
	// onReadable gets the next bytes, which it may change and must not keep. After a pause it is called with none.
	onReadable(p []byte) verdict
	// continuation returns once what is to run after the batch, when another may be read already; nil for nothing.
	continuation() func()
	// awaitResume returns when a pause is over.
	awaitResume()
	// onReadEnd is the last call: the connection is at its end or broken.
	onReadEnd(err error)
}

var readBuffers = sync.Pool{New: func() any {
	b := make([]byte, readBufferSize)
	return &b
}}

// reader reads one connection on one goroutine that is parked while there is nothing to read. Each batch is handled by a
// worker for which the parked one waits: the parked one's stack then never grows.
type reader struct {
	// Static after construction.
	conn    net.Conn
	raw     syscall.RawConn
	to      receiver
	workers *workers

	// Owned by the parked goroutine and the one it waits for, in turns.
	first   []byte // arrived before the reader existed
	buf     *[]byte
	n       int
	err     error
	verdict verdict
	batch   sync.WaitGroup
}

// startReading begins to read conn; first is what has been read of it already.
func startReading(w *workers, conn net.Conn, raw syscall.RawConn, first []byte, to receiver) {
	r := &reader{conn: conn, raw: raw, to: to, workers: w, first: first}
	if raw != nil {
		w.tasks.start(r.readWhenReady)
	} else {
		w.tasks.start(r.readPlain)
	}
}

func (r *reader) readWhenReady() {
	r.workers.join()
	defer r.workers.leave()
	if len(r.first) > 0 {
		r.hand()
	}
	fill := r.fill // made once: each use would be an allocation
	for r.err == nil {
		if r.verdict == pauseReading {
			r.to.awaitResume()
			r.hand()
			continue
		}
		if err := r.raw.Read(fill); err != nil {
			r.err = err
			break
		}
		if r.err == nil {
			r.hand()
		}
	}
	r.hand()
}

// hand has a worker handle what there is and waits. What the handlers left to do follows there, while this goroutine reads
// on.
func (r *reader) hand() {
	r.batch.Add(1)
	r.workers.do((*batchJob)(r))
	r.batch.Wait()
}

// batchJob is a reader that has something to hand on, as the workers see it.
type batchJob reader

func (j *batchJob) run() {
	r := (*reader)(j)
	defer func() { // also when a handler has called runtime.Goexit
		f := r.to.continuation()
		r.batch.Done()
		if f != nil {
			f()
		}
	}()
	r.handBatch()
}

func (r *reader) handBatch() {
	switch {
	case r.err != nil:
		r.to.onReadEnd(r.err)
	case len(r.first) > 0:
		first := r.first
		r.first = nil
		r.verdict = r.to.onReadable(first)
	case r.buf != nil:
		buf := r.buf
		r.buf = nil
		r.verdict = r.to.onReadable((*buf)[:r.n])
		readBuffers.Put(buf)
	default: // after a pause
		r.verdict = r.to.onReadable(nil)
	}
}

// readPlain is for connections without a descriptor of their own: TLS, pipes, foreign wrappers.
func (r *reader) readPlain() {
	// Also when a handler, which runs on this goroutine, calls runtime.Goexit.
	defer func() { r.to.onReadEnd(r.err) }()
	small := make([]byte, plainBufferSize)
	r.handle(r.first)
	r.first = nil
	for r.err == nil {
		releaseTLS(r.conn)
		if r.read(small) {
			r.readBulk()
		}
	}
}

// readBulk goes on, where there is probably more, with a pooled buffer until that is not filled any more.
func (r *reader) readBulk() {
	buf := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buf)
	for r.read(*buf) {
	}
}

// read handles one read of at most len(buf) bytes. It reports whether they were as many and there may be more.
func (r *reader) read(buf []byte) (full bool) {
	r.n, r.err = r.conn.Read(buf)
	r.handle(buf[:r.n])
	return r.err == nil && r.n == len(buf)
}

// handle hands p on and sits out the pauses that follow, so that the end of the connection does not overtake what was
// read before it.
func (r *reader) handle(p []byte) {
	if len(p) == 0 {
		return
	}
	r.verdict = r.to.onReadable(p)
	for r.verdict == pauseReading {
		r.to.awaitResume()
		r.verdict = r.to.onReadable(nil)
	}
}
