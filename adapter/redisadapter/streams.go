package redisadapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf16"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/adapter/membership"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

// StreamsOptions configure NewStreams. The zero value means the defaults of @socket.io/redis-streams-adapter 0.3. All
// nodes of a cluster have the same StreamName, StreamCount, ChannelPrefix and UseShardedPubSub.
type StreamsOptions struct {
	Options

	// StreamName is the key of the stream. With a StreamCount above 1 it begins the keys. Default: "socket.io".
	StreamName string

	// StreamCount is the number of streams that the namespaces are spread over. Each is read on a connection of its own.
	// Default: 1.
	StreamCount int

	// ChannelPrefix begins the names of the channels for questions and answers. The classic adapter must not use the
	// same one in the same Redis. Default: "socket.io".
	ChannelPrefix string

	// UseShardedPubSub sends questions and answers through sharded pub/sub, which needs Redis 7.
	UseShardedPubSub bool

	// MaxLen is how many entries a stream keeps, approximately: Redis removes whole blocks. A node that writes slows down when five
	// eighths of them may be unread, as far as Redis tells (CLIENT LIST). Default: 10,000.
	MaxLen int

	// ReadCount is how many entries are read at once; up to 16 times as many by a node that is behind. Default: 100.
	ReadCount int

	// BlockTime is how long one command waits for entries; a connection that is silent for a second longer is made anew.
	// Default: 5 s.
	BlockTime time.Duration

	// SessionKeyPrefix begins the keys of stored sessions. Default: "sio:session:".
	SessionKeyPrefix string

	// OnlyPlaintext writes binary into the stream as JSON.stringify does. Clients then get an object instead.
	OnlyPlaintext bool
}

func (o *StreamsOptions) setDefaults() {
	o.StreamName = cmp.Or(o.StreamName, defaultKey)
	o.StreamCount = cmp.Or(o.StreamCount, 1)
	o.ChannelPrefix = cmp.Or(o.ChannelPrefix, defaultKey)
	o.MaxLen = cmp.Or(o.MaxLen, defaultMaxLen)
	o.ReadCount = cmp.Or(o.ReadCount, 100)
	o.BlockTime = cmp.Or(o.BlockTime, 5*time.Second)
	o.SessionKeyPrefix = cmp.Or(o.SessionKeyPrefix, "sio:session:")
}

const defaultMaxLen = 10_000

// Streams is the builder of streams adapters, see NewStreams.
type Streams struct {
	builder builder
	opts    StreamsOptions
}

// streams is what one server reads.
type streams struct {
	// Static after construction.
	*hub
	opts StreamsOptions
	id   adapter.NodeID

	keeps atomic.Bool // clients come back to what is in the streams

	// Guarded by mu.
	mu      sync.Mutex
	buses   map[string][]*streamsBus // by namespace; more than one only while a namespace is replaced
	paces   map[string]*pace         // by stream
	reading *reading                 // while there are buses
}

// reading is what exists between the first namespace and the last one.
type reading struct {
	ctx     context.Context
	stop    context.CancelFunc
	readers map[string]*streamReader // by stream
}

// NewStreams connects nodes through Redis streams, in the way of createAdapter of @socket.io/redis-streams-adapter 0.3.
// opts may be nil.
//
// Broadcasts, joins, leaves and disconnects go through the stream: a node that loses its connection to Redis reads on from
// where it was, and gets what is still in the stream. What has been removed meanwhile is counted in Stats.StreamLost and
// logged. Questions, answers and what is sent to one node alone (RemoteSocket.Emit and Disconnect) go through pub/sub: a node that
// has lost its connection does not get them later.
//
// With a StreamCount above 1 Node writes the messages of some namespaces, about half of them, to streams that no Node
// reads: their numbers are negative. Go nodes write to the same ones and read them.
func NewStreams(rdb redis.UniversalClient, opts *StreamsOptions) *Streams {
	s := new(Streams)
	if opts != nil {
		s.opts = *opts
	}
	s.opts.setDefaults()
	s.builder.init(rdb, s.opts.Options)
	return s
}

// Ready waits until the servers with this adapter hear in all their namespaces what others say, for the first one if there is none
// yet, and returns why not when ctx ends first. Without it a server starts at once and reaches other nodes as soon as it can.
func (s *Streams) Ready(ctx context.Context) error { return s.builder.servers.Ready(ctx, "redis") }

// Stats returns the current figures. With several servers they are sums, and the state is that of the one that is worst off.
func (s *Streams) Stats() Stats { return s.builder.figures() }

// Open makes a server a node of the cluster. It does not wait for Redis, see Ready.
func (s *Streams) Open(self adapter.Node, changed func(adapter.Node)) (adapter.Cluster, error) {
	o := &s.opts
	if o.StreamCount < 1 || o.MaxLen < 1 || o.ReadCount < 1 || o.BlockTime < time.Millisecond {
		return nil, errors.New("stream options must be positive")
	}
	self.Adapter = "streams"
	st := &streams{hub: s.builder.newHub(), opts: s.opts, id: self.ID, buses: make(map[string][]*streamsBus), paces: make(map[string]*pace)}
	br := &broker{hub: st.hub, prefix: o.ChannelPrefix, id: self.ID, bus: st.newBus, streams: st, flags: []membership.Setting{
		{Flag: "adapter", Value: "streams"}, {Flag: "key", Value: o.ChannelPrefix}, {Flag: "stream-name", Value: o.StreamName},
		{Flag: "stream-count", Value: strconv.Itoa(o.StreamCount)}, {Flag: "use-sharded-pubsub", Value: strconv.FormatBool(o.UseShardedPubSub)},
	}}
	if o.UseShardedPubSub {
		br.space = shard
	}
	return s.builder.open(self, changed, br, adapter.ClusterOptions{})
}

func (s *streams) newBus(local adapter.Local) (adapter.Bus, error) {
	codec, err := envelope.New(s.id, local.Name(), inflow.Expects(local))
	if err != nil {
		return nil, err
	}
	history, err := envelope.New("history", local.Name(), func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	b := &streamsBus{
		streams: s, local: local, uid: s.id, codec: codec, history: history,
		stream: streamOf(local.Name(), s.opts.StreamName, s.opts.StreamCount),
		public: s.opts.ChannelPrefix + "#" + local.Name() + "#", listening: make(chan struct{}),
	}
	if s.opts.UseShardedPubSub {
		b.space = shard
	}
	b.forNode, b.company = codec.ForNode(), newCompany(s.hub, local, b.space, b.public)
	s.mu.Lock()
	defer s.mu.Unlock()
	b.pace = s.paceOf(b.stream)
	return b, nil
}

// paceOf returns the pace of a stream. mu is held.
func (s *streams) paceOf(stream string) *pace {
	p := s.paces[stream]
	if p == nil {
		p = newPace(s.opts.MaxLen, s.poke)
		s.paces[stream] = p
	}
	return p
}

// ready waits until the streams are read, and returns why not when ctx ends first.
func (s *streams) ready(ctx context.Context) error {
	for {
		reading, readers := s.needed()
		if reading == nil {
			return nil
		}
		ended, err := reached(ctx, reading, readers)
		if err != nil || !ended {
			return err
		}
	}
}

// needed returns the readers of the streams that namespaces and emitters write to.
func (s *streams) needed() (*reading, []*streamReader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading == nil {
		return nil, nil
	}
	streams := make(map[string]bool)
	for _, buses := range s.buses {
		for _, b := range buses {
			streams[b.stream] = true
		}
	}
	for i := range s.opts.StreamCount {
		streams[s.opts.StreamName+"-"+strconv.Itoa(i)] = true
	}
	var list []*streamReader
	for name, r := range s.reading.readers {
		if streams[name] {
			list = append(list, r)
		}
	}
	return s.reading, list
}

// reached waits for the streams, or until the last namespace has closed.
func reached(ctx context.Context, reading *reading, readers []*streamReader) (ended bool, err error) {
	for _, r := range readers {
		select {
		case <-r.ready:
		case <-reading.ctx.Done():
			return true, nil
		case <-ctx.Done():
			return false, fmt.Errorf("stream %s cannot be read: %w", r.stream, ctx.Err())
		}
	}
	return false, nil
}

// streamOf chooses the stream of a namespace as Node does: by a hash that may be negative.
func streamOf(namespace, name string, count int) string {
	if count == 1 {
		return name
	}
	return name + "-" + strconv.Itoa(streamNumber(namespace, count))
}

func streamNumber(namespace string, count int) int {
	var hash int32
	for _, unit := range utf16.Encode([]rune(namespace)) {
		hash = hash*31 + int32(unit)
	}
	return int(hash) % count
}

// add makes a bus hear what is in the streams. The first one starts the readers of all streams that Node reads, because an
// emitter may write to any of them; one that Node does not read gets its reader with the first namespace that needs it.
func (s *streams) add(b *streamsBus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := b.local.Name()
	s.buses[name] = append(s.buses[name], b)
	if s.reading == nil {
		ctx, stop := context.WithCancel(context.Background())
		s.reading = &reading{ctx, stop, make(map[string]*streamReader)}
		if s.opts.StreamCount > 1 {
			for i := range s.opts.StreamCount {
				s.readLocked(s.opts.StreamName + "-" + strconv.Itoa(i))
			}
		}
	}
	s.readLocked(b.stream).whenLocated(b)
}

func (s *streams) readLocked(stream string) *streamReader {
	r := s.reading.readers[stream]
	if r == nil {
		r = newStreamReader(s.reading.ctx, s, stream)
		s.reading.readers[stream] = r
		go s.loop(r.ctx, r.read)
		go r.breaks.work(r.ctx, r.appendBreak)
		go s.loop(r.ctx, r.watch)
	}
	return r
}

// remove undoes add.
func (s *streams) remove(b *streamsBus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := b.local.Name()
	s.buses[name] = slices.DeleteFunc(s.buses[name], func(other *streamsBus) bool { return other == b })
	if len(s.buses[name]) == 0 {
		delete(s.buses, name)
	}
	s.reading.readers[b.stream].forget(b)
	if len(s.buses) == 0 {
		s.reading.stop()
		s.reading = nil
	}
}

// readerOf returns who reads a stream, nil if nobody does.
func (s *streams) readerOf(stream string) *streamReader {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading == nil {
		return nil
	}
	return s.reading.readers[stream]
}

// deliver hands an entry to the namespace that it is for. Once ctx, which remove ends with mu held, has ended, it does not:
// a namespace that was opened since then has a reader of its own, which may deliver the same entry.
func (s *streams) deliver(ctx context.Context, stream, id string, e envelope.Entry) {
	s.mu.Lock()
	var buses []*streamsBus
	if ctx.Err() == nil {
		buses = slices.Clone(s.buses[e.Namespace])
	}
	s.mu.Unlock()
	for _, b := range buses {
		b.openEntry(stream, id, e)
	}
}

// streamsBus is the bus of a namespace.
type streamsBus struct {
	// Static after construction.
	streams *streams
	local   adapter.Local
	uid     adapter.NodeID
	codec   *envelope.Codec
	forNode *envelope.Codec // of what all nodes hear, while there may be Node.js nodes
	company *company
	history *envelope.Codec // opens every entry of the namespace, whoever has written it for whom
	stream  string
	pace    *pace // of the stream
	space   space
	public  string // the channel for questions

	mailbox *inflow.Mailbox[delivery] // static after Start

	recording atomic.Bool // receive gets this node's own entries, too

	listening chan struct{} // closed when the bus has got the subscription to its channels under way

	turn sync.Mutex // held while a message is handed on, which the two readers do at the same time

	// Guarded by mu.
	mu     sync.Mutex
	closed bool
}

// Losses counts how often the connection to Redis went down.
func (b *streamsBus) Losses() uint64 { return b.streams.status.Downs() }

func (b *streamsBus) Start(receive func(m *adapter.Message)) error {
	b.mailbox = b.streams.newMailbox(b.local.Name(), b.open, receive)
	b.streams.add(b)
	return nil
}

// listen subscribes to the channels, once the position in the stream is known: a node that counts hears everything.
func (b *streamsBus) listen() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	// First the channel that makes a node known by its name, then the one that makes it count.
	b.streams.subscribe(b.local.Name(), b.space, b.private(b.uid), b.take)
	b.streams.subscribe(b.local.Name(), b.space, b.public, b.take)
	b.streams.common(b.space, b.public)
	close(b.listening)
}

// take is the sink of both channels.
func (b *streamsBus) take(channel, body string) {
	if !b.codec.Own(body) {
		b.mailbox.Push(delivery{channel, body})
	}
}

// open decodes and hands on what has been published on a channel.
func (b *streamsBus) open(channel, body string) {
	m, err := b.codec.Open(body)
	b.deliver(m, err, channel)
}

// deliver hands on what comes through the stream, and through the channels.
func (b *streamsBus) deliver(m *adapter.Message, err error, source string) {
	b.turn.Lock()
	b.mailbox.Deliver(m, err, source)
	b.turn.Unlock()
	if q, answer := envelope.Unanswered(err); q != nil {
		b.Respond(q, answer)
	}
}

// private is the channel for answers to one node.
func (b *streamsBus) private(to adapter.NodeID) string { return b.public + string(to) + "#" }

// Listening waits for both channels once their subscription is under way.
func (b *streamsBus) Listening(ctx context.Context) error {
	select {
	case <-b.listening:
		return b.streams.wait(ctx, b.space, b.private(b.uid), b.public)
	case <-ctx.Done():
		return adapter.ErrClusterUnavailable
	}
}

// Parted is true: the stream and the channels are read on connections of their own.
func (b *streamsBus) Parted() bool { return true }

// ToAll is true: every node reads the stream, and hears the channel for questions.
func (b *streamsBus) ToAll(*adapter.Message) bool { return true }

// Send publishes on the channel of the node alone. Nothing of it is in the stream.
func (b *streamsBus) Send(to adapter.NodeID, m *adapter.Message) error {
	return b.publish(b.codec, b.private(to), m, postOf(b.local.Name(), m))
}

func (b *streamsBus) Publish(m *adapter.Message) error {
	codec := b.codec
	if b.company.needsBoth(m) {
		codec = b.forNode
	}
	if envelope.Ephemeral(m) {
		return b.publish(codec, b.public, m, postOf(b.local.Name(), m))
	}
	e, err := codec.Entry(m, b.streams.opts.OnlyPlaintext)
	if err != nil {
		return err
	}
	how := postOf(b.local.Name(), m)
	how.pace = b.pace
	return b.streams.send(xadd(context.Background(), b.stream, b.streams.opts.MaxLen, e), how)
}

// xadd is the command that appends an entry, with its fields in Node's order.
func xadd(ctx context.Context, stream string, maxLen int, e envelope.Entry) redis.Cmder {
	return redis.NewStringCmd(ctx, "xadd", stream, "maxlen", "~", maxLen, "*",
		"uid", e.UID, "nsp", e.Namespace, "type", e.Type, "data", e.Data)
}

func (b *streamsBus) Respond(question, answer *adapter.Message) {
	if question.From == "" {
		return
	}
	a := *answer
	a.Request = question.Request
	b.mailbox.Unsent(b.publish(b.codec, b.private(question.From), &a, answerOf(b.local.Name())))
}

func (b *streamsBus) publish(codec *envelope.Codec, channel string, m *adapter.Message, how post) error {
	body, err := codec.Packed(m)
	if err != nil {
		return err
	}
	return b.streams.publish(b.space, channel, body, how)
}

func (b *streamsBus) Count(ctx context.Context) (int, error) {
	return b.streams.numSub(ctx, b.space, b.public)
}

func (b *streamsBus) Nodes(ctx context.Context) ([]adapter.NodeID, error) {
	return nodesOf(ctx, b.streams.hub, b.space, b.public)
}

func (b *streamsBus) Close() error {
	b.mailbox.Close()
	b.streams.remove(b)
	b.mu.Lock()
	b.closed = true
	select {
	case <-b.listening:
		b.streams.unsubscribe(b.local.Name(), b.space, b.public)
		b.streams.unsubscribe(b.local.Name(), b.space, b.private(b.uid))
	default:
		close(b.listening) // nobody is to wait for it any more
	}
	b.mu.Unlock()
	return nil
}
