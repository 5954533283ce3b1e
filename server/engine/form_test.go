package engine

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

// A form is built once, whoever asks at the same time, and forms do not get in each other's way.
func TestFormsAreBuiltOnce(t *testing.T) {
	var builds [3]atomic.Int32
	var forms [3]*form
	for i := range forms {
		forms[i] = &form{build: func(m *Message) [][]byte {
			builds[i].Add(1)
			return [][]byte{{byte(i)}, m.payload()}
		}}
	}
	m := NewMessage([]byte("text"), []byte("attachment"))
	var all sync.WaitGroup
	for n := range 64 {
		all.Go(func() {
			i := n % len(forms)
			got := forms[i].appendTo(nil, m)
			if len(got) != 2 || !bytes.Equal(got[0], []byte{byte(i)}) || string(got[1]) != "4text" {
				t.Errorf("form %d is %q", i, got)
			}
		})
	}
	all.Wait()
	for i := range builds {
		if n := builds[i].Load(); n != 1 {
			t.Errorf("form %d was built %d times", i, n)
		}
	}
}

// What every recipient of a broadcast costs takes no memory: the frame of a text, and whatever has been built.
func TestFormsAllocateNothing(t *testing.T) {
	text, attached := NewMessage([]byte("text")), NewMessage(make([]byte, 2000), []byte("attachment"))
	bufs := make([][]byte, 0, 16)
	f := newMessageFraming(messages4, (&websocket.DeflateOptions{}).Shared())
	d := (&websocket.DeflateOptions{}).Shared()
	for name, again := range map[string]func(){
		"text":       func() { f.appendTo(bufs, text, nil) },
		"attachment": func() { f.appendTo(bufs, attached, nil) },
		"compressed": func() { f.appendTo(bufs, attached, d) },
		"polling":    func() { payloads4.text.form.appendTo(bufs, attached) },
	} {
		if n := testing.AllocsPerRun(100, again); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Servers that share a message build its compressed frames each by its own settings.
func TestCompressedFormOfEachServer(t *testing.T) {
	m := NewMessage(make([]byte, 2000), make([]byte, 500))
	for _, c := range []struct{ threshold, compressed int }{{1024, 1}, {100, 2}, {1024, 1}} {
		d := (&websocket.DeflateOptions{Threshold: c.threshold}).Shared()
		frames := newMessageFraming(messages4, d).appendTo(nil, m, d)
		compressed := 0
		for i := 0; i < len(frames); i += 2 {
			if frames[i][0]&websocket.BitRSV1 != 0 {
				compressed++
			}
		}
		if len(frames) != 4 || compressed != c.compressed {
			t.Errorf("threshold %d: %d of %d frames are compressed", c.threshold, compressed, len(frames)/2)
		}
	}
}
