package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
)

// redisFlags say where Redis is.
type redisFlags struct {
	Redis        []string `placeholder:"URL" help:"Redis that connects the nodes: redis://, rediss:// or unix://, with user:password@, /database and the query parameters of go-redis. Several URLs are seeds of a Redis Cluster, or with ?master_name=NAME Sentinels."`
	RedisCluster bool     `help:"The one URL of --redis is a seed of a Redis Cluster."`
}

// client makes the client of a Redis, of a Redis Cluster, or of the master that Sentinels know. It does not connect yet.
func (f *redisFlags) client(log *slog.Logger) (redis.UniversalClient, error) {
	redis.SetLogger(redisLog{log})
	first, err := f.merged()
	if err != nil {
		return nil, err
	}
	switch query := first.Query(); {
	case query.Get("master_name") != "":
		opts, err := redis.ParseFailoverURL(first.String())
		if err != nil {
			return nil, refusedURL(err)
		}
		return redis.NewFailoverClient(opts), nil
	case f.RedisCluster || query.Has("addr"):
		if strings.Trim(first.Path, "/") != "" {
			return nil, errors.New("--redis: a Redis Cluster has no numbered databases")
		}
		opts, err := redis.ParseClusterURL(first.String())
		if err != nil {
			return nil, refusedURL(err)
		}
		return redis.NewClusterClient(opts), nil
	default:
		opts, err := redis.ParseURL(first.String())
		if err != nil {
			return nil, refusedURL(err)
		}
		return redis.NewClient(opts), nil
	}
}

// merged makes one URL of all, with the addresses of the others as parameters, as go-redis wants it.
func (f *redisFlags) merged() (*url.URL, error) {
	var first *url.URL
	for _, text := range f.Redis {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil {
			return nil, refusedURL(err)
		}
		if u.Scheme != "redis" && u.Scheme != "rediss" && u.Scheme != "unix" {
			return nil, errors.New("--redis takes URLs that begin with redis://, rediss:// or unix://")
		}
		if first == nil {
			first = u
			continue
		}
		if first.Scheme == "unix" || u.Scheme != first.Scheme || u.RawQuery != "" || u.Path != "" && u.Path != first.Path ||
			u.User != nil && u.User.String() != first.User.String() {
			return nil, errors.New("--redis: the first URL has the options, the further ones only another host and port")
		}
		query := first.Query()
		query.Add("addr", net.JoinHostPort(u.Hostname(), portOr(u, "6379")))
		first.RawQuery = query.Encode()
	}
	if first.Scheme == "unix" && f.RedisCluster {
		return nil, errors.New("--redis: a Redis Cluster is not reached over a unix socket")
	}
	return first, nil
}

func portOr(u *url.URL, port string) string {
	if p := u.Port(); p != "" {
		return p
	}
	return port
}

// refusedURL says what is wrong with a URL, without the URL: it may have a password in it.
func refusedURL(err error) error {
	if wrong := new(url.Error); errors.As(err, &wrong) {
		err = wrong.Err
	}
	return fmt.Errorf("--redis: %w", err)
}

// place describes where the client connects to, without user and password.
func (f *redisFlags) place() string {
	var places []string
	for _, text := range f.Redis {
		if u, err := url.Parse(strings.TrimSpace(text)); err == nil {
			places = append(places, u.Scheme+"://"+u.Host+u.Path)
		}
	}
	return strings.Join(places, ",")
}

// redisLog takes the lines of the client library, which reports each failed attempt to connect. What an operator needs
// to know of it is told by the adapter, once.
type redisLog struct{ log *slog.Logger }

// Printf logs for debugging.
func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.log.DebugContext(ctx, "redis client", "message", fmt.Sprintf(format, args...))
}
