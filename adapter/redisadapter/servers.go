package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// usedWithin is how long a server of a Redis Cluster is watched after the last command for it.
	usedWithin = time.Minute
)

// node is one Redis server that takes our commands.
type node struct {
	// Static after construction.
	addr string
	rdb  *redis.Client // the caller's client with our timeouts; shares its connections, never to be closed

	down    atomic.Bool  // err is not nil
	heard   atomic.Bool  // it has answered once
	busy    atomic.Int64 // since when something is under way on the pipe and nothing is answered, Unix nanoseconds; 0 with nothing under way
	probing atomic.Int64 // when the monitor's question was sent; 0 without one
	used    atomic.Int64 // when the last command was sent

	// Guarded by mu.
	mu  sync.Mutex
	err error
}

// failed notes that the server did not answer, or does not let us in.
func (n *node) failed(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
	n.down.Store(true)
}

// answered notes that the server has answered.
func (n *node) answered() {
	if !n.heard.Load() {
		n.heard.Store(true)
	}
	if !n.down.Load() {
		return
	}
	n.mu.Lock()
	n.err = nil
	n.down.Store(false)
	n.mu.Unlock()
}

func (n *node) trouble() error {
	if !n.down.Load() {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// explained says more about an error that Redis, or the network, is short about.
func (n *node) explained(err error) error {
	closed := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	if closed && !n.heard.Load() && n.rdb.Options().TLSConfig == nil {
		return fmt.Errorf("%w: the server has closed the connection without an answer; if it speaks TLS, use rediss:// or TLSConfig", err)
	}
	return err
}

// connect makes a connection of our own, with whatever the caller's client does to make one, and hands it over once Redis has
// answered on it.
func (n *node) connect(ctx context.Context, within time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	opts := ownOptions(n.rdb)
	opts.Protocol = 2
	opts.DialerRetries = 1
	made, dial := ownedConn{}, opts.Dialer
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		made.Conn = conn
		return conn, err
	}
	made.client = redis.NewClient(opts)
	made.held = made.client.Conn()
	err := made.held.Ping(ctx).Err()
	if err != nil && isReply(err) && trouble(err) == "noperm" {
		err = nil // it is an answer
	}
	if err != nil {
		_ = made.client.Close()
		return nil, err
	}
	return &made, made.SetDeadline(time.Time{})
}

// ownedConn is a connection that go-redis has made and does not touch any more.
type ownedConn struct {
	net.Conn
	held   *redis.Conn
	client *redis.Client
}

// Close closes the connection, and what go-redis keeps for it.
func (c *ownedConn) Close() error {
	err := c.Conn.Close()
	_ = c.held.Close()
	_ = c.client.Close()
	return err
}

// ownOptions returns those of a client with a single connection of our own, with nothing in it that belongs to another client.
func ownOptions(rdb *redis.Client) *redis.Options {
	opts := *rdb.Options()
	opts.PoolSize, opts.MinIdleConns, opts.MaxIdleConns, opts.MaxActiveConns = 1, 0, 0, 0
	opts.MaxRetries = -1
	opts.PushNotificationProcessor = nil
	opts.ClientSideCacheConfig, opts.ClientSideCache = nil, nil
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return &opts
}

// replica is a Redis server that follows a master.
type replica struct {
	rdb   *redis.Client // the caller's client with our timeouts
	asked atomic.Int64  // when the question was sent that it has not answered, Unix nanoseconds; 0 without one
}

// replicaGrace is how long this node waits for the answers of replicas when the masters have answered.
const replicaGrace = 250 * time.Millisecond

// ask puts a question, unless the replica has kept another one waiting for too long. It calls done at the end.
func (r *replica) ask(question func(*redis.Client) error, done func()) {
	defer done()
	now := time.Now().UnixNano()
	if !r.asked.CompareAndSwap(0, now) && now-r.asked.Load() > int64(replicaGrace) {
		return
	}
	_ = question(r.rdb)
	r.asked.Store(0)
}

// servers finds the Redis servers behind a client. All methods may be called concurrently.
type servers struct {
	// Static after construction.
	single  *node
	cluster *redis.ClusterClient
	answer  time.Duration // how long Redis may keep us waiting before it counts as down

	anyDown atomic.Bool

	// Guarded by mu.
	mu       sync.Mutex
	nodes    map[*redis.Client]*node
	replicas []*replica
	pinned   *node         // serves what every master can serve: plain channels
	loading  chan struct{} // closed when the reload under way is done
	loaded   bool
	loadErr  error
	avoid    *node // do not pin it again if there is another
}

func newServers(rdb redis.UniversalClient, answer time.Duration) (*servers, error) {
	s := &servers{answer: answer, nodes: map[*redis.Client]*node{}}
	switch rdb := rdb.(type) {
	case *redis.Client:
		if rdb == nil {
			return nil, errors.New("redis client is nil")
		}
		s.single = s.nodeLocked(rdb)
	case *redis.ClusterClient:
		if rdb == nil {
			return nil, errors.New("redis client is nil")
		}
		s.cluster = rdb
	case *redis.Ring:
		return nil, errors.New("a redis ring spreads channels over servers that do not know each other: use a client of one server or of Redis Cluster")
	case nil:
		return nil, errors.New("redis client is nil")
	default:
		return nil, fmt.Errorf("redis client of type %T: use *redis.Client or *redis.ClusterClient", rdb)
	}
	return s, nil
}

func (s *servers) nodeLocked(rdb *redis.Client) *node {
	n := s.nodes[rdb]
	if n == nil {
		n = &node{addr: rdb.Options().Addr, rdb: rdb.WithTimeout(s.answer)}
		s.nodes[rdb] = n
	}
	return n
}

// forKey returns the master that serves a key or shard channel.
func (s *servers) forKey(ctx context.Context, key string) (*node, error) {
	if s.single != nil {
		return s.single, nil
	}
	if err := s.known(ctx); err != nil {
		return nil, err
	}
	rdb, err := s.cluster.MasterForKey(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("find the redis server of a slot: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodeLocked(rdb), nil
}

// any returns the master that we use for what every master can do. It stays the same until it fails, so that messages
// keep their order.
func (s *servers) any(ctx context.Context) (*node, error) {
	if s.single != nil {
		return s.single, nil
	}
	if err := s.known(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pinned == nil {
		return nil, errNoMaster
	}
	return s.pinned, nil
}

// leave lets any choose another master than n.
func (s *servers) leave(n *node) {
	if s.single != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pinned == n {
		s.avoid = n
		s.pinLocked()
	}
}

func (s *servers) pinLocked() {
	s.pinned = nil
	for _, n := range s.nodes {
		if s.pinned == nil || s.pinned == s.avoid || s.pinned.down.Load() && !n.down.Load() && n != s.avoid {
			s.pinned = n
		}
	}
}

// known returns at once if the servers of the cluster are known, and asks for them otherwise.
func (s *servers) known(ctx context.Context) error {
	s.mu.Lock()
	loaded := s.loaded
	s.mu.Unlock()
	if loaded {
		return nil
	}
	return s.reload(ctx)
}

// reload asks the cluster which master serves what. One question is under way at a time; it may outlast ctx, because
// go-redis asks one server after the other with its own timeouts.
func (s *servers) reload(ctx context.Context) error {
	if s.single != nil {
		return nil
	}
	s.mu.Lock()
	if s.loading == nil {
		s.loading = make(chan struct{})
		go s.load()
	}
	done := s.loading
	s.mu.Unlock()
	select {
	case <-done:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.loadErr
	case <-ctx.Done():
		return fmt.Errorf("ask redis cluster for its slots: %w", ctx.Err())
	}
}

func (s *servers) load() {
	var mu sync.Mutex
	var masters []*redis.Client
	err := s.cluster.ForEachMaster(context.Background(), func(_ context.Context, rdb *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters = append(masters, rdb)
		return nil
	})
	var replicas []*replica
	_ = s.cluster.ForEachSlave(context.Background(), func(_ context.Context, rdb *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		replicas = append(replicas, &replica{rdb: rdb.WithTimeout(s.answer)})
		return nil
	})
	if err == nil && len(masters) == 0 {
		err = errNoMaster
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.loading)
	s.loading = nil
	s.loadErr = err
	if err != nil {
		s.anyDown.Store(true)
		return
	}
	s.loaded, s.replicas = true, replicas
	old := s.nodes
	s.nodes = make(map[*redis.Client]*node, len(masters))
	for _, rdb := range masters {
		if n := old[rdb]; n != nil {
			s.nodes[rdb] = n
		} else {
			s.nodeLocked(rdb)
		}
	}
	if s.pinned == nil || !s.hasLocked(s.pinned) {
		s.pinLocked()
	}
}

func (s *servers) hasLocked(n *node) bool {
	for _, known := range s.nodes {
		if known == n {
			return true
		}
	}
	return false
}

// masters lists the known masters.
func (s *servers) masters() []*node {
	if s.single != nil {
		return []*node{s.single}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*node, 0, len(s.nodes))
	for _, n := range s.nodes {
		list = append(list, n)
	}
	return list
}

// away says why a command for key cannot be sent now, as far as is known; key is "" for what any master does.
func (s *servers) away(key string) error {
	if s.single != nil {
		return s.single.trouble()
	}
	if !s.anyDown.Load() {
		return nil
	}
	s.mu.Lock()
	loaded, n, err := s.loaded, s.pinned, s.loadErr
	s.mu.Unlock()
	if !loaded {
		return err
	}
	if key != "" {
		rdb, err := s.cluster.MasterForKey(context.Background(), key)
		if err != nil {
			return err
		}
		s.mu.Lock()
		n = s.nodeLocked(rdb)
		s.mu.Unlock()
	}
	if n == nil {
		return errNoMaster
	}
	return n.trouble()
}

var errNoMaster = errors.New("redis cluster has no master")

// connecting is how long a connection may take to be made, which needs several answers. Each has to come in time.
func (s *servers) connecting() time.Duration { return 4 * s.answer }

// failure says why the servers of a Redis Cluster are not known.
func (s *servers) failure() error {
	if s.single != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded {
		return nil
	}
	return s.loadErr
}

// each calls question for the server of a shard channel, or for all servers at once. Replicas are asked too, because a
// client of a Redis Cluster may subscribe at any of them, but they need not answer: question may still run when each has
// returned.
func (s *servers) each(ctx context.Context, sp space, name string, question func(context.Context, *redis.Client) error) error {
	if s.single != nil {
		return question(ctx, s.single.rdb)
	}
	if sp == shard && name != "" {
		n, err := s.forKey(ctx, name)
		if err != nil {
			return err
		}
		return question(ctx, n.rdb)
	}
	s.mu.Lock()
	replicas := s.replicas
	s.mu.Unlock()
	answers := make(chan struct{}, len(replicas))
	for _, r := range replicas {
		go r.ask(func(rdb *redis.Client) error { return question(ctx, rdb) }, func() { answers <- struct{}{} })
	}
	var wg sync.WaitGroup
	var failure atomic.Pointer[error]
	for _, n := range s.masters() {
		wg.Go(func() {
			if err := question(ctx, n.rdb); err != nil {
				failure.Store(&err)
			}
		})
	}
	wg.Wait()
	if err := failure.Load(); err != nil {
		return *err
	}
	grace := time.NewTimer(replicaGrace)
	defer grace.Stop()
	for range replicas {
		select {
		case <-answers:
		case <-grace.C:
			return nil
		}
	}
	return nil
}
