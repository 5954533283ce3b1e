package natsadapter

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/store"
)

const (
	// userAnswerWithin is how long a keeper may take for an answer, userTryFor how long a call looks for one that answers.
	userAnswerWithin = time.Second
	userTryFor       = 5 * time.Second
)

// UserStoreOptions configure NewUserStore. The zero value means a server at nats://127.0.0.1:4222.
type UserStoreOptions struct {
	// Servers and Connect are those of Options.
	Servers []string
	Connect []nats.Option

	// Prefix begins all subjects, <prefix>.users.> All nodes of a cluster have the same. Default: "sockeye".
	Prefix string

	// AnswerTimeout is how long NATS may owe an answer until the connection counts as dead. Default: 3 s.
	AnswerTimeout time.Duration

	// Logger is told when this store becomes the keeper and when it does not keep any more. Default: slog.Default().
	Logger *slog.Logger
}

// UserStore keeps the users of a cluster, for package users, in the memory of one of the nodes, the keeper. All methods may be called
// concurrently, and end with their context.
//
// The nodes choose the keeper among themselves, so that nothing is needed but NATS, and no number of nodes has to be there: the last one
// still keeps users. When the keeper ends, falls silent for 3 s or loses NATS, another one begins without users and with a new
// epoch, upon which every node writes its users anew, see package users. After a cluster was in two, the keeper that began last goes on.
// As long as two keep, and for half a second around the choice of one, what they say of a user can be different: a user may be the
// first one twice.
//
// A UserStore also has what keeps revoked tokens and the sessions of the admin UI, see Revocations and AdminSessions.
type UserStore struct{ *keeping }

var _ adapter.ForgetfulUserStore = (*UserStore)(nil)

// Forgets implements adapter.ForgetfulUserStore.
func (*UserStore) Forgets() {}

// NewUserStore makes the store of a node, which has a connection of its own to NATS and does not wait for it. opts may be nil. It is to
// be closed after the server.
func NewUserStore(opts *UserStoreOptions) (*UserStore, error) {
	all, err := opts.complete()
	if err != nil {
		return nil, err
	}
	k := newKeeping(all)
	go k.run()
	return &UserStore{k}, nil
}

// complete returns the options of a connection. o may be nil.
func (o *UserStoreOptions) complete() (Options, error) {
	if o == nil {
		o = new(UserStoreOptions)
	}
	all := Options{Servers: slices.Clone(o.Servers), Connect: slices.Clone(o.Connect), Prefix: o.Prefix, AnswerTimeout: o.AnswerTimeout, Logger: o.Logger}.withDefaults()
	return all, all.check()
}

// Close gives up what the store keeps and ends its connection.
func (s *UserStore) Close() error {
	s.close()
	return nil
}

// Apply implements adapter.UserStore, as do the methods below.
func (s *UserStore) Apply(ctx context.Context, namespace string, changes []adapter.UserChange) ([]adapter.UserOutcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, userFailure("change users", err)
	}
	outcomes := make([]adapter.UserOutcome, 0, len(changes))
	for _, q := range questionsOf(namespace, changes) {
		done, err := s.apply(ctx, q)
		outcomes = append(outcomes, done...)
		if err != nil {
			return outcomes, userFailure("change users", err)
		}
	}
	return outcomes, nil
}

// apply makes changes, in parts if what came of all of them is more than NATS takes. Changes may be repeated.
func (s *UserStore) apply(ctx context.Context, q userQuestion) ([]adapter.UserOutcome, error) {
	a, err := s.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	if n := len(q.Changes); a.Large && n == 1 {
		return nil, nats.ErrMaxPayload
	} else if a.Large {
		first, second := q, q
		first.Changes, second.Changes = q.Changes[:n/2], q.Changes[n/2:]
		outcomes, err := s.apply(ctx, first)
		if err != nil {
			return outcomes, err
		}
		rest, err := s.apply(ctx, second)
		return append(outcomes, rest...), err
	}
	if len(a.Outcomes) != len(q.Changes) {
		return nil, fmt.Errorf("%d outcomes of %d changes", len(a.Outcomes), len(q.Changes))
	}
	return a.Outcomes, nil
}

// Lookup implements adapter.UserStore.
func (s *UserStore) Lookup(ctx context.Context, namespace, user string) (adapter.UserEntry, error) {
	a, err := s.ask(ctx, userQuestion{Do: doLookup, Namespace: namespace, User: []byte(user)})
	return a.Entry, userFailure("look a user up", err)
}

// Enrol implements adapter.UserStore.
func (s *UserStore) Enrol(ctx context.Context, namespace, life, node string) (string, error) {
	a, err := s.ask(ctx, userQuestion{Do: doEnrol, Namespace: namespace, Life: life, Node: node})
	return a.Epoch, userFailure("enrol", err)
}

// Roll implements adapter.UserStore.
func (s *UserStore) Roll(ctx context.Context, namespace string) (map[string]string, string, error) {
	a, err := s.ask(ctx, userQuestion{Do: doRoll, Namespace: namespace})
	return a.Lives, a.Epoch, userFailure("read the roll", err)
}

// Claim implements adapter.UserStore.
func (s *UserStore) Claim(ctx context.Context, namespace, life, by string, ttl time.Duration) (bool, error) {
	a, err := s.ask(ctx, userQuestion{Do: doClaim, Namespace: namespace, Life: life, By: by, For: int64(ttl)})
	return a.OK, userFailure("claim a life", err)
}

// Sweep implements adapter.UserStore.
func (s *UserStore) Sweep(ctx context.Context, namespace, life string, last func(user string)) error {
	for {
		a, err := s.ask(ctx, userQuestion{Do: doHeld, Namespace: namespace, Life: life})
		if err != nil {
			return userFailure("sweep a life", err)
		}
		if len(a.Users) == 0 {
			break
		}
		changes := make([]adapter.UserChange, len(a.Users))
		for i, user := range a.Users {
			changes[i] = adapter.UserChange{Op: adapter.UserForget, User: string(user), Life: life}
		}
		outcomes, err := s.Apply(ctx, namespace, changes)
		for i, o := range outcomes {
			if o.Last {
				last(changes[i].User)
			}
		}
		if err != nil {
			return userFailure("sweep a life", err)
		}
	}
	_, err := s.ask(ctx, userQuestion{Do: doStrike, Namespace: namespace, Life: life})
	return userFailure("sweep a life", err)
}

// ask asks the keeper, whoever that is.
func (k *keeping) ask(ctx context.Context, q userQuestion) (userAnswer, error) {
	if err := q.check(); err != nil {
		return userAnswer{}, errors.Join(errMisuse, err)
	}
	body, err := json.Marshal(q)
	if err != nil {
		return userAnswer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, userTryFor)
	defer cancel()
	var last error // why the last one asked did not answer
	for {
		nc, keeper, err := k.keeper(ctx)
		if err != nil {
			return userAnswer{}, errors.Join(err, last)
		}
		a, err := k.askOne(ctx, nc, keeper, q, body)
		switch {
		case errors.Is(err, nats.ErrNoResponders) || err == nil && a.Not:
			last = cmp.Or(err, errNoKeeper)
			k.gone(keeper)
		case errors.Is(err, nats.ErrMaxPayload) && q.Do == doApply:
			return userAnswer{Large: true}, nil
		case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded): // it may have been lost; it may be asked twice
		case err != nil:
			return userAnswer{}, err
		case a.Error != "":
			return userAnswer{}, errors.New(a.Error)
		case a.Large && (q.Do != doApply || len(q.Changes) == 1):
			return userAnswer{}, fmt.Errorf("the keeper's answer: %w", nats.ErrMaxPayload)
		default:
			return a, nil
		}
	}
}

// askOne asks one keeper, which may be this store.
func (k *keeping) askOne(ctx context.Context, nc *nats.Conn, keeper string, q userQuestion, body []byte) (a userAnswer, err error) {
	if err := ctx.Err(); err != nil {
		return a, err
	}
	if keeper == k.id {
		return k.answer(q), nil
	}
	ctx, cancel := context.WithTimeout(ctx, userAnswerWithin)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, k.subjects.keeper(keeper), body)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return a, fmt.Errorf("read the keeper's answer: %w", err)
	}
	return a, nil
}

// errNoKeeper is a store that was asked and is no keeper.
var errNoKeeper = errors.New("who was asked does not keep the users any more")

// errMisuse is a question that no keeper takes.
var errMisuse = errors.New("not taken")

// userFailure says what could not be done.
func userFailure(what string, err error) error {
	return store.Failure(what, err, !errors.Is(err, errMisuse))
}
