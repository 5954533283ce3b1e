package main

import (
	"crypto/tls"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

func TestRedisClient(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	open := func(f redisFlags) redis.UniversalClient {
		t.Helper()
		client, err := f.redisClient(log)
		if err != nil {
			t.Fatalf("%q: %v", f.Redis, err)
		}
		t.Cleanup(func() { client.Close() })
		return client
	}

	single := open(redisFlags{Redis: []string{"redis://ann:p%40ss@host:7000/2?dial_timeout=3s"}}).(*redis.Client).Options()
	if single.Addr != "host:7000" || single.Username != "ann" || single.Password != "p@ss" || single.DB != 2 || single.DialTimeout.Seconds() != 3 {
		t.Errorf("single: %+v", single)
	}
	if o := open(redisFlags{Redis: []string{"rediss://host"}}).(*redis.Client).Options(); o.Addr != "host:6379" || o.TLSConfig == nil || o.TLSConfig.ServerName != "host" {
		t.Errorf("TLS: %+v", o)
	}
	if o := open(redisFlags{Redis: []string{"unix://:secret@/run/redis.sock?db=1"}}).(*redis.Client).Options(); o.Network != "unix" || o.Addr != "/run/redis.sock" || o.Password != "secret" || o.DB != 1 {
		t.Errorf("unix: %+v", o)
	}

	for _, f := range []redisFlags{
		{Redis: []string{"rediss://ann:secret@a:1", "rediss://b:2", "rediss://ann:secret@c"}},
		{Redis: []string{"rediss://ann:secret@a:1?addr=b:2&addr=c:6379"}},
	} {
		o := open(f).(*redis.ClusterClient).Options()
		if !slices.Equal(o.Addrs, []string{"a:1", "b:2", "c:6379"}) || o.Username != "ann" || o.Password != "secret" || o.TLSConfig == nil {
			t.Errorf("cluster: %+v", o)
		}
	}
	if o := open(redisFlags{Redis: []string{"redis://a:1"}, RedisCluster: true}).(*redis.ClusterClient).Options(); !slices.Equal(o.Addrs, []string{"a:1"}) {
		t.Errorf("cluster with one seed: %+v", o)
	}

	// The options of a failover client show the address of the master only once it is known.
	sentinel := redisFlags{Redis: []string{"redis://a:1/3?master_name=main&password=secret", "redis://b:2"}}
	if o := open(sentinel).(*redis.Client).Options(); o.Addr != "FailoverClient" || o.Password != "secret" || o.DB != 3 {
		t.Errorf("sentinel: %+v", o)
	}
	if got := sentinel.redisPlace(); got != "redis://a:1/3,redis://b:2" {
		t.Errorf("place %q", got)
	}
}

// TestRedisTLSFiles shakes hands with a server that wants a certificate.
func TestRedisTLSFiles(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pool := redistest.Certificate(t, cert, key)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			err = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
		served <- err
	}()
	flags := redisFlags{Redis: []string{"rediss://" + listener.Addr().String()}, RedisCA: cert, RedisCert: cert, RedisKey: key}
	client, err := flags.redisClient(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := tls.Dial("tcp", listener.Addr().String(), client.(*redis.Client).Options().TLSConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := (&redisFlags{RedisCert: cert}).checkRedis(); err == nil {
		t.Error("a certificate without a key is taken")
	}
}

func TestRedisURLsThatAreRefused(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	for _, tc := range []struct {
		flags redisFlags
		want  string
	}{
		{redisFlags{Redis: []string{"http://:secret@host"}}, "redis://"},
		{redisFlags{Redis: []string{"redis://:secret@host:port"}}, "invalid port"},
		{redisFlags{Redis: []string{"redis://:secret@host:1/x"}}, "invalid database number"},
		{redisFlags{Redis: []string{"redis://:secret@host:1?color=red"}}, "color"},
		{redisFlags{Redis: []string{"redis://:secret@a:1", "rediss://:secret@b:1"}}, "further ones"},
		{redisFlags{Redis: []string{"redis://:secret@a:1", "redis://:other@b:1"}}, "further ones"},
		{redisFlags{Redis: []string{"unix:///run/redis.sock", "unix:///run/other.sock"}}, "further ones"},
		{redisFlags{Redis: []string{"redis://:secret@a:1/2", "redis://b:1"}}, "no numbered databases"},
		{redisFlags{Redis: []string{"unix:///run/redis.sock"}, RedisCluster: true}, "unix socket"},
		{redisFlags{Redis: []string{"redis://:secret@a:1"}, RedisCA: "redis_test.go"}, "rediss://"},
		{redisFlags{Redis: []string{"rediss://:secret@a:1"}, RedisCA: "redis_test.go"}, "no certificate"},
	} {
		client, err := tc.flags.redisClient(log)
		if err == nil {
			client.Close()
			t.Errorf("%q was accepted", tc.flags.Redis)
			continue
		}
		if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q", tc.flags.Redis, err, tc.want)
		}
	}
}
