package engine

// form is one way to write messages: the frames of one kind of connection, or their part of one kind of payload. A message
// is built at most once in each form, and what is built is shared by all who send it. A new form is a new value, about
// which nobody else needs to know.
type form struct {
	// text says what of a message without attachments is in this form from the start.
	text prepared
	// build returns a message in this form. The buffers are shared and never changed.
	build func(*Message) [][]byte
}

// prepared is what every message with a text has ready.
type prepared uint8

const (
	notPrepared    prepared = iota
	preparedFrame           // its websocket frame
	preparedPacket          // its packet
)

// built is a message in one form. It never changes.
type built struct {
	form *form
	bufs [][]byte
	next *built // the forms that were built before
}

// appendTo appends m in this form. It takes no lock and no memory once the form is built, and there are few forms to look
// through: as many as there are kinds of connections that get the message.
func (f *form) appendTo(dst [][]byte, m *Message) [][]byte {
	if m.binary == nil {
		switch f.text {
		case preparedFrame:
			return append(dst, m.text)
		case preparedPacket:
			return append(dst, m.text[m.head:])
		}
	}
	first := m.built.Load()
	for b := first; b != nil; b = b.next {
		if b.form == f {
			return append(dst, b.bufs...)
		}
	}
	return append(dst, m.buildIn(f)...)
}

// buildIn adds a form to the message, unless another goroutine has done so.
func (m *Message) buildIn(f *form) [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := m.built.Load()
	for b := first; b != nil; b = b.next {
		if b.form == f {
			return b.bufs
		}
	}
	bufs := f.build(m)
	m.built.Store(&built{f, bufs, first})
	return bufs
}
