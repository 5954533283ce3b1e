package redisadapter

import (
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
)

// post says what is to be done with a command.
type post struct {
	// namespace is the one that speaks; "" is the membership. Redis may let one speak and another not.
	namespace string
	// passing says that the command is of no use later: it is refused while Redis is away, and waits for two seconds at most. What the
	// membership says is of use as long as it is on its way.
	passing bool
	// reply says that it answers a question that has just come through Redis: it waits for its turn whatever is known of Redis.
	reply bool
	// sent is told what has become of the command, if it was queued. It does not block; nil if nobody wants to know.
	sent func(adapter.Receipt)
	// key decides on the server if it is not the command's first argument.
	key string
	// pace is that of the stream that is written to; nil for what is published.
	pace *pace
}

// postOf returns what is to be done with a message: questions and volatile messages are of no use later.
func postOf(namespace string, m *adapter.Message) post {
	return post{namespace: namespace, passing: m.Request != "" || m.Flags.Volatile, sent: m.Sent}
}

// answerOf is the post of answers: who asked does not wait for long.
func answerOf(namespace string) post { return post{namespace: namespace, passing: true, reply: true} }

// scope is what Redis refuses as one: what a user may do depends on the command and on the names of keys and channels, which
// begin with the namespace.
type scope struct{ verb, namespace string }

// overhead is about what a command takes beside its arguments: go-redis's form of it, ours, and its places in queues.
const overhead = 448

// command is one that is queued or under way. go-redis must not send it twice: it cannot know whether Redis executed the
// first.
type command struct {
	redis.Cmder
	post
	size   int
	queued time.Time
}

// NoRetry makes go-redis give up a command that failed half-way, when it follows a redirection.
func (c *command) NoRetry() bool { return true }

func newCommand(cmd redis.Cmder, how post) *command {
	c := &command{Cmder: cmd, post: how, size: overhead, queued: time.Now()}
	args := cmd.Args()
	for _, arg := range args {
		switch arg := arg.(type) {
		case string:
			c.size += len(arg)
		case []byte:
			c.size += len(arg)
		}
	}
	if c.key == "" && len(args) > 1 && !strings.EqualFold(cmd.Name(), "publish") {
		c.key, _ = args[1].(string)
	}
	return c
}

// tooOld reports whether the command has waited for too long.
func (c *command) tooOld(now time.Time, limit time.Duration) bool {
	if c.passing && c.namespace != "" {
		limit = min(limit, outflow.PassingAge)
	}
	return now.Sub(c.queued) > limit
}

func (c *command) scope() scope { return scope{c.Name(), c.namespace} }

// optional reports whether the node does without the command if Redis refuses it.
func (c *command) optional() bool {
	args := c.Args()
	return len(args) > 1 && args[1] == commonChannel
}

// fail tells that the command was not executed, or may not have been.
func (c *command) fail(err error) {
	if c.sent != nil {
		c.sent(adapter.Receipt{Err: err, Receivers: -1})
	}
}

// failAll tells the same of commands, and why.
func failAll(list []*command, err error) {
	for _, c := range list {
		c.fail(unavailable(err))
	}
}

// landed notes that a command is not under way any more. r is the zero value if there is no answer.
func (c *command) landed(r response) {
	if c.pace != nil {
		c.pace.end(r.text)
	}
}

// succeed tells what Redis has answered.
func (c *command) succeed(r response) {
	switch {
	case c.sent == nil:
	case r.isText: // of XADD, or of appendScript
		receipt := adapter.Receipt{Receivers: -1, Offset: r.text}
		if id, receivers, ok := strings.Cut(r.text, " "); ok {
			receipt.Offset = id
			receipt.Receivers, _ = strconv.Atoi(receivers)
		}
		c.sent(receipt)
	default: // of PUBLISH
		c.sent(adapter.Receipt{Receivers: int(r.number)})
	}
}

// answer returns what go-redis has found out by itself.
func (c *command) answer() response {
	switch cmd := c.Cmder.(type) {
	case *redis.IntCmd:
		return response{number: cmd.Val(), err: cmd.Err()}
	case *redis.StringCmd:
		return response{text: cmd.Val(), isText: true, err: cmd.Err()}
	}
	return response{err: c.Err()}
}
