package natsadapter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
)

const (
	// lookEvery is how often a node makes sure that it has heard all that is in the log, lookLeast the time between two looks if there is
	// reason to, firstLook how long it waits after a look that has failed, and offLook after it was found that there is no JetStream to use.
	lookEvery = 2 * time.Second
	lookLeast = 50 * time.Millisecond
	firstLook = 200 * time.Millisecond
	offLook   = 10 * time.Second
	// startsWithin is how long JetStream may take to begin on a server that has just started.
	startsWithin = 5 * time.Second
	// election is how long JetStream may take to choose another leader: a follower waits for 4 to 9 s, and the first choice may fail. So long
	// broadcasts wait for the log, and clients that come back for their sessions.
	election = 20 * time.Second
	// Questions wait for a third of Options.AnswerTimeout and are asked again: one that a leader has got before it was killed nobody answers.

	// wantedVersion is the first one that reads several messages at once and removes each message in its own time.
	wantedVersion = "2.11"
)

// noPeers is what JetStream says while there are fewer servers than replicas.
const noPeers jetstream.ErrorCode = 10005

var (
	errNoJetStream = errors.New("jetstream is not enabled for this user's account")
	errNoStream    = errors.New("no stream takes it: jetstream is away, or has no leader")
	errOldNATS     = errors.New("the server is older than " + wantedVersion)
)

// jetStream is what one server uses of JetStream for clients that come back: a stream with the logs of all namespaces, and one with the
// sessions. It has a goroutine from the first log on, and those of the logs' writers. All methods may be called concurrently.
type jetStream struct {
	// Static after construction.
	hub    *hub
	kicked chan struct{} // capacity 1; there is a reason to look
	ctx    context.Context
	stop   context.CancelFunc

	watching, writing sync.WaitGroup

	skew atomic.Int64 // how far the servers' clock is ahead of this machine's, in nanoseconds

	mu sync.Mutex
	// Guarded by mu.
	begun, closed bool
	retain        time.Duration
	logs          []*keptLog
	nc            *nats.Conn // of js
	js            jetstream.JetStream
	off           error     // why nobody can go on; nil while that is not known, and if all is well
	denied        error     // the last thing that NATS has not let us do
	unanswered    time.Time // since when nothing was answered; zero if the last was
	ready         bool      // both streams were there
}

func newJetStream(h *hub) *jetStream {
	j := &jetStream{hub: h, kicked: make(chan struct{}, 1)}
	j.ctx, j.stop = context.WithCancel(context.Background())
	return j
}

// logStream and sessionStream are the names of the streams: the prefix, without the dots that a name cannot have.
func (o *Options) logStream() string     { return strings.ReplaceAll(o.Prefix, ".", "=") + "_log" }
func (o *Options) sessionStream() string { return strings.ReplaceAll(o.Prefix, ".", "=") + "_sessions" }

// streams are the configurations of the two.
func (j *jetStream) streams() []jetstream.StreamConfig {
	o := &j.hub.opts
	storage := jetstream.FileStorage
	if o.RecoveryInMemory {
		storage = jetstream.MemoryStorage
	}
	replicas := o.RecoveryReplicas
	if replicas == 0 {
		replicas = 1
		if s := j.hub.session(); s != nil && s.nc.ConnectedClusterName() != "" {
			replicas = 3
		}
	}
	return []jetstream.StreamConfig{
		{
			Name: o.logStream(), Description: "broadcasts for clients that come back", Subjects: []string{o.Prefix + ".log.*"},
			Storage: storage, Replicas: replicas, MaxAge: j.maxAge(), MaxBytes: o.RecoveryMaxBytes, MaxMsgsPerSubject: int64(o.RecoveryMaxLen),
			Discard: jetstream.DiscardOld, AllowDirect: true, Duplicates: min(2*time.Minute, j.maxAge()),
			RePublish: &jetstream.RePublish{Source: o.Prefix + ".log.*", Destination: o.Prefix + ".logged.{{wildcard(1)}}"},
		},
		{
			Name: o.sessionStream(), Description: "sessions of clients", Subjects: []string{o.Prefix + ".sessions.*.*"},
			Storage: storage, Replicas: replicas, MaxBytes: o.RecoveryMaxBytes, MaxMsgsPerSubject: 1,
			Discard: jetstream.DiscardOld, AllowDirect: true, AllowMsgTTL: true,
		},
	}
}

// maxAge is how long broadcasts are kept.
func (j *jetStream) maxAge() time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return max(j.hub.opts.RecoveryMaxAge, 2*j.retain)
}

// add has a log looked after.
func (j *jetStream) add(l *keptLog) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.retain = max(j.retain, l.retain)
	if j.closed {
		return
	}
	j.logs = append(slices.Clone(j.logs), l)
	if !j.begun {
		j.begun = true
		j.watching.Go(j.watch)
	}
	j.kick()
}

func (j *jetStream) remove(l *keptLog) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.logs = slices.DeleteFunc(slices.Clone(j.logs), func(other *keptLog) bool { return other == l })
}

// write runs f, which writes to a log, unless the server closes.
func (j *jetStream) write(f func()) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		j.writing.Go(f)
	}
	return !j.closed
}

// close ends everything. What waits to be written still is if JetStream takes it within a second.
func (j *jetStream) close() {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	written := make(chan struct{})
	go func() {
		j.writing.Wait()
		close(written)
	}()
	timer := time.NewTimer(outflow.CloseWithin)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
	}
	j.stop()
	<-written
	j.watching.Wait()
}

// waiting returns what waits to be written.
func (j *jetStream) waiting() (messages, bytes int) {
	j.mu.Lock()
	logs := j.logs
	j.mu.Unlock()
	for _, l := range logs {
		n, size := l.writer.figures()
		messages += n
		bytes += size
	}
	return messages, bytes
}

func (j *jetStream) kick() {
	select {
	case j.kicked <- struct{}{}:
	default:
	}
}

// watch looks after the streams and the logs.
func (j *jetStream) watch() {
	for j.hub.status.Await(j.ctx, Up) {
		wait := lookEvery
		if err := j.look(); err != nil {
			wait = firstLook
			if j.isOff() != nil {
				wait = offLook
			}
		}
		kicked := j.kicked
		if wait != lookEvery { // there is no use in hurrying
			kicked = nil
		}
		if pause(j.ctx, lookLeast) != nil {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-kicked:
		case <-j.hub.status.Away(): // the next connection may be to another server
		case <-j.ctx.Done():
		}
		timer.Stop()
	}
}

// look makes the streams if they are missing, and has every log up to date.
func (j *jetStream) look() error {
	ctx, cancel := context.WithTimeout(j.ctx, 2*j.hub.opts.AnswerTimeout)
	defer cancel()
	j.mu.Lock()
	ready, logs := j.ready, j.logs
	j.mu.Unlock()
	configs := j.streams()
	info, err := j.ensure(ctx, configs[0])
	if err == nil && !ready {
		err = j.prepare(ctx, configs)
	}
	if err != nil {
		j.failed(err)
		return err
	}
	j.mu.Lock()
	j.ready = true
	j.mu.Unlock()
	j.skew.Store(int64(time.Until(info.TimeStamp)))
	for _, l := range logs {
		if err = l.catch(ctx, info); err != nil {
			j.failed(err)
			return err
		}
	}
	j.worked()
	return nil
}

// prepare makes the stream of sessions, and tries whether the node may read, which is seldom done.
func (j *jetStream) prepare(ctx context.Context, configs []jetstream.StreamConfig) error {
	if _, err := j.ensure(ctx, configs[1]); err != nil {
		return err
	}
	for _, config := range configs {
		if _, _, err := j.page(ctx, config.Name, config.Subjects[0], math.MaxInt64); err != nil {
			return err
		}
	}
	return nil
}

// now is the servers' time.
func (j *jetStream) now() time.Time { return time.Now().Add(time.Duration(j.skew.Load())) }

// ensure returns what is known of a stream, which is made if there is none.
func (j *jetStream) ensure(ctx context.Context, config jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	js, err := j.use()
	if err != nil {
		return nil, err
	}
	s, err := j.stream(ctx, js, config.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		// Another node may be faster, also with other limits. All have to say the same of when the stream was made, so that is asked.
		_, err = js.CreateStream(ctx, config)
		if err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			s, err = j.stream(ctx, js, config.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", config.Name, err)
	}
	info := s.CachedInfo()
	has := &info.Config
	if !has.AllowDirect || has.AllowMsgTTL != config.AllowMsgTTL || (has.RePublish == nil) != (config.RePublish == nil) {
		return nil, fmt.Errorf("%w: %s", errOtherStream, config.Name)
	}
	return info, nil
}

// stream asks for what is known of a stream.
func (j *jetStream) stream(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, j.hub.opts.AnswerTimeout/3)
	defer cancel()
	return js.Stream(ctx, name)
}

var errOtherStream = errors.New("a stream of this name is there that was made for something else")

// use returns what speaks to JetStream over the connection of now.
func (j *jetStream) use() (jetstream.JetStream, error) {
	s := j.hub.session()
	if s == nil {
		return nil, unavailable(errLost)
	}
	j.mu.Lock()
	js, same := j.js, j.nc == s.nc
	j.mu.Unlock()
	if same {
		return js, nil
	}
	if older(s.nc.ConnectedServerVersion(), wantedVersion) {
		return nil, errOldNATS
	}
	js, err := jetstream.New(s.nc, jetstream.WithDefaultTimeout(j.hub.opts.AnswerTimeout/3))
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.nc, j.js, j.denied = s.nc, js, nil
	return js, nil
}

// older compares the first two numbers of versions. One that is none is not older.
func older(version, than string) bool {
	numbers := func(text string) (list [2]int) {
		for i, part := range strings.SplitN(text, ".", 3) {
			n, err := strconv.Atoi(part)
			if i < 2 && err == nil {
				list[i] = n
			}
		}
		return list
	}
	v, t := numbers(version), numbers(than)
	return v[0] > 0 && (v[0] < t[0] || v[0] == t[0] && v[1] < t[1])
}

// refused takes note of what NATS does not let the node do, and reports whether that is for clients that come back alone.
func (j *jetStream) refused(subject string, err error) bool {
	o := &j.hub.opts
	for _, begins := range []string{"$JS.", o.Prefix + ".log.", o.Prefix + ".logged.", o.Prefix + ".sessions.", o.Prefix + ".answers."} {
		if strings.HasPrefix(subject, begins) {
			j.mu.Lock()
			j.denied = err
			j.mu.Unlock()
			j.kick()
			return true
		}
	}
	return false
}

// failed notes that JetStream could not be asked, and tells once if it cannot be used at all.
func (j *jetStream) failed(err error) {
	if j.ctx.Err() != nil || !j.hub.status.Is(Up) {
		return
	}
	var api *jetstream.APIError
	j.mu.Lock()
	j.ready = false
	if j.unanswered.IsZero() {
		j.unanswered = time.Now()
	}
	denied, silent := j.denied, time.Since(j.unanswered)
	j.mu.Unlock()
	off := err
	switch {
	case denied != nil:
		off = denied
	case errors.Is(err, nats.ErrNoResponders) && silent < startsWithin:
		return
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		off = errNoJetStream
	case errors.Is(err, errOldNATS), errors.Is(err, errOtherStream):
	case errors.As(err, &api) && api.Code < 503 && api.ErrorCode != noPeers: // JetStream has said what it does not want
	default:
		return // it may be without a leader
	}
	j.mu.Lock()
	first := j.off == nil
	j.off = off
	j.mu.Unlock()
	if first {
		j.hub.opts.Logger.Warn("recovery is off, clients that come back start anew: jetstream cannot be used", "error", off)
	}
}

// worked is the opposite of failed.
func (j *jetStream) worked() {
	j.mu.Lock()
	was := j.off
	j.off, j.denied, j.unanswered = nil, nil, time.Time{}
	j.mu.Unlock()
	if was != nil {
		j.hub.opts.Logger.Info("recovery is on: jetstream can be used")
	}
}

// isOff returns why nobody can go on, nil if that is possible, or will be.
func (j *jetStream) isOff() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.off
}

// hopeless reports whether it is no use to wait any longer.
func (j *jetStream) hopeless() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.off != nil || !j.unanswered.IsZero() && time.Since(j.unanswered) > j.hub.opts.election
}

// missing is told that a stream did not take something.
func (j *jetStream) missing() {
	j.mu.Lock()
	j.ready = false
	j.mu.Unlock()
	j.kick()
}

// append publishes to a stream and returns when that has stored it. A message whose id it has had in the last two minutes it stores once.
func (j *jetStream) append(ctx context.Context, subject string, body []byte, opts ...jetstream.PublishOpt) (seq uint64, err error) {
	js, err := j.use()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, j.hub.opts.AnswerTimeout/3)
	defer cancel()
	opts = append(opts, jetstream.WithRetryAttempts(0))
	ack, err := js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: body}, opts...)
	switch {
	case err == nil:
		return ack.Sequence, nil
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		j.missing()
		return 0, errNoStream
	}
	return 0, err
}

// stored is a message of a stream.
type stored struct {
	seq  uint64
	at   int64 // when it was stored, in nanoseconds
	body []byte
}

// get asks the leader for one message, by its number or, with 0, for the last one of a subject. nil is none.
func (j *jetStream) get(ctx context.Context, stream string, seq uint64, subject string) (*stored, error) {
	question := struct {
		Seq  uint64 `json:"seq,omitempty"`
		Last string `json:"last_by_subj,omitempty"`
	}{seq, ""}
	if seq == 0 {
		question.Last = subject
	}
	var answer struct {
		Message *struct {
			Seq  uint64    `json:"seq"`
			Data []byte    `json:"data"`
			Time time.Time `json:"time"`
		} `json:"message"`
		Error *jetstream.APIError `json:"error"`
	}
	js, err := j.use()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, j.hub.opts.AnswerTimeout/3)
	defer cancel()
	m, err := js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, text)
	if err == nil {
		err = json.Unmarshal(m.Data, &answer)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read stream %s: %w", stream, err)
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, nil
	case answer.Error != nil:
		if answer.Error.ErrorCode == jetstream.JSErrCodeStreamNotFound {
			j.missing()
		}
		return nil, fmt.Errorf("read stream %s: %w", stream, answer.Error)
	case answer.Message == nil:
		return nil, nil
	}
	return &stored{answer.Message.Seq, answer.Message.Time.UnixNano(), answer.Message.Data}, nil
}

const (
	// pageMessages and pageBytes bound what is read at once.
	pageMessages = 500
	pageBytes    = 1 << 20
)

// page reads messages of a subject from a number on, from any server that has the stream, the nearest one. more says that there are more;
// a server that is not the leader may be behind.
func (j *jetStream) page(ctx context.Context, stream, subject string, from uint64) (list []*stored, more bool, err error) {
	js, err := j.use()
	if err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, j.hub.opts.AnswerTimeout/3)
	defer cancel()
	nc := js.Conn()
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, false, fmt.Errorf("read stream %s: %w", stream, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only if the connection has ended
	question, err := json.Marshal(struct {
		Seq   uint64 `json:"seq,omitempty"`
		Batch int    `json:"batch"`
		Bytes int    `json:"max_bytes"`
		Next  string `json:"next_by_subj"`
	}{from, pageMessages, pageBytes + int(nc.MaxPayload()), subject}) // at least two, of which one may be known
	if err != nil {
		return nil, false, err
	}
	if err := nc.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, question); err != nil {
		return nil, false, fmt.Errorf("read stream %s: %w", stream, err)
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, false, fmt.Errorf("read stream %s: %w", stream, err)
		}
		switch status := m.Header.Get("Status"); status {
		case "":
			s, ok := storedOf(m)
			if !ok {
				return nil, false, fmt.Errorf("read stream %s: %w", stream, errEntry)
			}
			list = append(list, s)
		case "204":
			return list, m.Header.Get("Nats-Num-Pending") != "0", nil
		case "404":
			return nil, false, nil
		default:
			return nil, false, fmt.Errorf("read stream %s: %s %s", stream, status, m.Header.Get("Description"))
		}
	}
}

// storedOf reads what a server says of a message that it has stored.
func storedOf(m *nats.Msg) (*stored, bool) {
	seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil || seq == 0 {
		return nil, false
	}
	at, err := time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
	if err != nil {
		return nil, false
	}
	return &stored{seq, at.UnixNano(), m.Data}, true
}

// unavailable says that JetStream could not be asked.
func unavailable(err error) error {
	if errors.Is(err, adapter.ErrClusterUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", adapter.ErrClusterUnavailable, err)
}
