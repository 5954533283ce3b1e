package kafkatest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// clusterID is the id of every cluster, which nothing compares.
const clusterID = "c29ja2V5ZS1rYWZrYXRlcw"

// defaults are the properties of all brokers: nothing waits longer than it must.
var defaults = []string{
	"auto.create.topics.enable=false",
	"num.partitions=1",
	"offsets.topic.num.partitions=1",
	"transaction.state.log.num.partitions=1",
	"group.initial.rebalance.delay.ms=0",
	"group.coordinator.append.linger.ms=0",
	"num.network.threads=2",
	"num.io.threads=4",
	"log.cleaner.dedupe.buffer.size=8388608",
	"log.cleaner.threads=1",
}

// access is how clients get in.
type access struct {
	options Options
	pem     string      // path of certificate and key
	trust   *tls.Config // for clients; nil without TLS
}

func accessOf(t testing.TB, opts *Options) access {
	t.Helper()
	var a access
	if opts != nil {
		a.options = *opts
	}
	if !a.options.TLS {
		return a
	}
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	a.trust = &tls.Config{RootCAs: redistest.Certificate(t, cert, key), ServerName: "localhost"}
	var both []byte
	for _, path := range []string{key, cert} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, text...)
	}
	a.pem = filepath.Join(dir, "both.pem")
	if err := os.WriteFile(a.pem, both, 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// TLSConfig returns what a client needs to trust the broker; nil without Options.TLS.
func (b *Broker) TLSConfig() *tls.Config { return b.access.trust.Clone() }

// listeners are the properties of a broker's ports: for clients, for other brokers, and for a controller if it is one.
func (b *Broker) listeners(controller string) []string {
	internal := redistest.FreeAddr(b.t)
	ours := "CLIENT://" + b.Addr + ",INTERNAL://" + internal
	all := ours
	if controller != "" {
		all += ",CONTROLLER://" + controller
	}
	return append([]string{
		"listeners=" + all,
		"advertised.listeners=" + ours,
		"inter.broker.listener.name=INTERNAL",
		"controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,CLIENT:" + b.access.protocol(),
	}, b.access.properties()...)
}

func (a access) protocol() string {
	protocol := "PLAINTEXT"
	if a.options.TLS {
		protocol = "SSL"
	}
	if len(a.options.Users) > 0 {
		protocol = "SASL_" + protocol
	}
	return protocol
}

// properties are those of a broker's port for clients, and of who may do what.
func (a access) properties() (properties []string) {
	if a.options.TLS {
		properties = append(properties, "listener.name.client.ssl.keystore.type=PEM", "listener.name.client.ssl.keystore.location="+a.pem)
	}
	properties = append(properties, a.authorizer()...)
	if len(a.options.Users) > 0 {
		module := "org.apache.kafka.common.security.plain.PlainLoginModule required"
		for user, password := range a.options.Users {
			module += fmt.Sprintf(" user_%s=%q", user, password)
		}
		scram := "=org.apache.kafka.common.security.scram.ScramLoginModule required;"
		properties = append(properties,
			"listener.name.client.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
			"listener.name.client.plain.sasl.jaas.config="+module+";",
			"listener.name.client.scram-sha-256.sasl.jaas.config"+scram,
			"listener.name.client.scram-sha-512.sasl.jaas.config"+scram)
	}
	return properties
}

// authorizer are the properties of who may do what, for brokers and controllers.
func (a access) authorizer() []string {
	if !a.options.Authorize {
		return nil
	}
	super := "User:ANONYMOUS" // the brokers themselves
	for user := range a.options.Users {
		if isAdmin(user) {
			super += ";User:" + user
		}
	}
	return []string{"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=" + super}
}

func isAdmin(user string) bool { return strings.HasPrefix(user, "admin") }

// newClient makes a client that may do everything.
func (a access) newClient(addrs []string, opts []kgo.Opt) (*kgo.Client, error) {
	all := []kgo.Opt{kgo.SeedBrokers(addrs...)}
	if a.trust != nil {
		all = append(all, kgo.DialTLSConfig(a.trust.Clone()))
	}
	for user, password := range a.options.Users {
		if isAdmin(user) {
			all = append(all, kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))
			break
		}
	}
	return kgo.NewClient(append(all, opts...)...)
}

func (a access) client(t testing.TB, addrs []string, opts []kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := a.newClient(addrs, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// knownBrokers returns what a client's broker knows, an error if these are fewer brokers.
func knownBrokers(ctx context.Context, client *kgo.Client, n int) (*kmsg.MetadataResponse, error) {
	answer, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	reached := slices.DeleteFunc(slices.Clone(answer.Brokers), func(b kmsg.MetadataResponseBroker) bool {
		conn, err := net.Dial("tcp", net.JoinHostPort(b.Host, fmt.Sprint(b.Port)))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if len(reached) < n {
		return nil, fmt.Errorf("%w: %d of %d", errTooFew, len(reached), n)
	}
	return answer, nil
}
