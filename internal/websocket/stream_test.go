package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/klauspost/compress/flate"
)

// recorder writes down what Feed finds.
type recorder struct {
	events []string
}

func (r *recorder) OnMessage(op Opcode, payload []byte) { r.add("message %d %q", op, payload) }
func (r *recorder) OnPing(payload []byte)               { r.add("ping %q", payload) }
func (r *recorder) OnPong(payload []byte)               { r.add("pong %q", payload) }
func (r *recorder) OnClose(code int, reason []byte)     { r.add("close %d %q", code, reason) }

func (r *recorder) add(format string, args ...any) {
	r.events = append(r.events, fmt.Sprintf(format, args...))
}

// stopping asks Feed to return after each callback.
type stopping struct{ recorder }

func (*stopping) Stop() bool { return true }

// run feeds a stream in chunks and returns the events, with the error as the last one. The chunks are copies, because
// Feed writes into what it gets.
func run(cfg *Config, d *Deflate, chunks ...[]byte) []string {
	var p Parser
	var r recorder
	for _, chunk := range chunks {
		n, err := p.Feed(cfg, d, &r, bytes.Clone(chunk))
		if n != len(chunk) {
			r.add("consumed %d of %d", n, len(chunk))
		}
		if err != nil {
			r.addError(err)
		}
	}
	p.Release()
	return r.events
}

func (r *recorder) addError(err error) {
	var ce *CloseError
	if !errors.As(err, &ce) {
		r.add("error without a code: %v", err)
		return
	}
	r.add("error %d %v", ce.Code, ce.Err)
}

// bytewise cuts a stream into single bytes.
func bytewise(stream []byte) [][]byte {
	return slices.Collect(slices.Chunk(stream, 1))
}

// stepwise feeds a stream to a handler that stops after each item, and checks that Feed leaves the rest alone.
func stepwise(t *testing.T, cfg *Config, d *Deflate, stream []byte) []string {
	t.Helper()
	var p Parser
	var r stopping
	data := bytes.Clone(stream)
	for n := 0; n < len(data); {
		used, err := p.Feed(cfg, d, &r, data[n:])
		if err != nil {
			r.addError(err)
		}
		if n += used; !bytes.Equal(data[n:], stream[n:]) {
			t.Fatalf("Feed changed bytes that it did not consume, after %d", n)
		}
	}
	p.Release()
	return r.events
}

var testKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// frame builds a masked frame; first is the whole first byte.
func frame(first byte, payload string) []byte {
	return AppendMasked(nil, first, testKey, []byte(payload))
}

const (
	finText   = BitFin | byte(OpText)
	finBinary = BitFin | byte(OpBinary)
	finCont   = BitFin | byte(OpContinuation)
	finPing   = BitFin | byte(OpPing)
	finPong   = BitFin | byte(OpPong)
	finClose  = BitFin | byte(OpClose)
	text      = byte(OpText)
	binary_   = byte(OpBinary)
	cont      = byte(OpContinuation)
	rsv1      = BitRSV1
)

func stream(frames ...[]byte) []byte { return slices.Concat(frames...) }

// deflated compresses without a final block, as a client does.
func deflated(s string) string { return string(AppendDeflated(nil, []byte(s), 0)) }

// finalBlock compresses with a final block.
func finalBlock(s string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 1)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

// newDeflate negotiates nothing but the given contexts.
func newDeflate(serverContext, clientContext bool) *Deflate {
	p := parameters{serverNoContext: !serverContext, clientNoContext: !clientContext}
	return p.deflate(&DeflateOptions{})
}

func equalEvents(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %.300q\nwant %.300q", what, got, want)
	}
}
