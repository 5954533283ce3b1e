package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/kafkaadapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/admin"
)

// kafkaAdapter is the value of --adapter for Kafka.
const kafkaAdapter = "kafka"

// kafkaFlags say where Kafka is, who this program is there, and how the topics are laid out.
type kafkaFlags struct {
	Kafka              []string `name:"kafka" placeholder:"HOST:PORT" help:"Kafka that connects the nodes: one broker of a cluster is enough, several let a node start while one is away."`
	KafkaTLS           bool     `name:"kafka-tls" help:"Reach Kafka over TLS."`
	KafkaTLSCA         string   `name:"kafka-tls-ca" type:"existingfile" help:"PEM file of the authority that has signed the certificates of the brokers; by default those of the system are trusted. Includes --kafka-tls."`
	KafkaTLSCert       string   `name:"kafka-tls-cert" type:"existingfile" help:"PEM file of the certificate that the brokers ask for. Includes --kafka-tls."`
	KafkaTLSKey        string   `name:"kafka-tls-key" type:"existingfile" help:"PEM file of its private key."`
	KafkaSASL          string   `name:"kafka-sasl" enum:",PLAIN,SCRAM-SHA-256,SCRAM-SHA-512" default:"" placeholder:"MECHANISM" help:"How to log in to Kafka: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. SCRAM-SHA-512 by default if there is a user."`
	KafkaUser          string   `name:"kafka-user" placeholder:"NAME" help:"User of Kafka."`
	KafkaPassword      string   `name:"kafka-password" secret:"whole" placeholder:"TEXT" help:"Password of the user, better given as SOCKEYE_KAFKA_PASSWORD or in a file."`
	KafkaPasswordFile  string   `name:"kafka-password-file" type:"existingfile" help:"File with that password."`
	KafkaLogPartitions int      `name:"kafka-log-partitions" placeholder:"N" help:"Partitions that the namespaces are spread over; 8 by default, the same on all nodes."`
}

// kafkaNodeFlags say how a node uses Kafka.
type kafkaNodeFlags struct {
	KafkaDirectPartitions int           `name:"kafka-direct-partitions" placeholder:"N" help:"Partitions that the inboxes of the nodes are spread over; 32 by default, the same on all nodes."`
	KafkaReplication      int           `name:"kafka-replication" placeholder:"N" help:"Copies of each topic that a node creates; the brokers' default.replication.factor by default. Take 3: what has a single copy is lost with its broker."`
	KafkaRetention        time.Duration `name:"kafka-retention" help:"How long the log is kept, if a node creates the topic: who was cut off for longer has lost something; 1h by default."`
	KafkaOrdered          []string      `name:"kafka-ordered" placeholder:"NAMESPACE,..." help:"Namespaces in which all clients of all nodes get broadcasts in one and the same order, a round trip to Kafka later."`
	KafkaAnswerTimeout    time.Duration `name:"kafka-answer-timeout" help:"How long Kafka may owe an answer before it counts as down; 3s by default."`
}

// flags lists those that need --kafka.
func (f *kafkaFlags) flags() []flag {
	return []flag{
		{"--kafka", len(f.Kafka) > 0},
		{"--kafka-tls", f.KafkaTLS},
		{"--kafka-tls-ca", f.KafkaTLSCA != ""},
		{"--kafka-tls-cert", f.KafkaTLSCert != ""},
		{"--kafka-tls-key", f.KafkaTLSKey != ""},
		{"--kafka-sasl", f.KafkaSASL != ""},
		{"--kafka-user", f.KafkaUser != ""},
		{"--kafka-password", f.KafkaPassword != ""},
		{"--kafka-password-file", f.KafkaPasswordFile != ""},
		{"--kafka-log-partitions", f.KafkaLogPartitions != 0},
	}
}

func (f *kafkaNodeFlags) flags() []flag {
	return []flag{
		{"--kafka-direct-partitions", f.KafkaDirectPartitions != 0},
		{"--kafka-replication", f.KafkaReplication != 0},
		{"--kafka-retention", f.KafkaRetention != 0},
		{"--kafka-ordered", len(f.KafkaOrdered) > 0},
		{"--kafka-answer-timeout", f.KafkaAnswerTimeout != 0},
	}
}

func (f *kafkaFlags) checkKafka() error {
	for _, text := range f.kafkaSeeds() {
		if host, port, err := net.SplitHostPort(text); err != nil || host == "" || port == "" {
			return fmt.Errorf("--kafka takes addresses such as broker:9092, not %q", text)
		}
	}
	secrets := 0
	for _, secret := range []string{f.KafkaPassword, f.KafkaPasswordFile} {
		if secret != "" {
			secrets++
		}
	}
	switch {
	case secrets > 1:
		return errors.New("only one of --kafka-password and --kafka-password-file is possible")
	case (f.KafkaUser == "") != (secrets == 0):
		return errors.New("--kafka-user and a password, --kafka-password or --kafka-password-file, need each other")
	case f.KafkaSASL != "" && f.KafkaUser == "":
		return errors.New("--kafka-sasl needs --kafka-user")
	case (f.KafkaTLSCert == "") != (f.KafkaTLSKey == ""):
		return errors.New("--kafka-tls-cert and --kafka-tls-key need each other")
	case f.KafkaLogPartitions < 0:
		return fmt.Errorf("--kafka-log-partitions must be positive, got %d", f.KafkaLogPartitions)
	}
	return nil
}

func (f *kafkaNodeFlags) checkKafkaNode() error {
	switch {
	case f.KafkaDirectPartitions < 0:
		return fmt.Errorf("--kafka-direct-partitions must be positive, got %d", f.KafkaDirectPartitions)
	case f.KafkaReplication < 0:
		return fmt.Errorf("--kafka-replication must be positive, got %d", f.KafkaReplication)
	case f.KafkaRetention < 0:
		return fmt.Errorf("--kafka-retention must be positive, got %v", f.KafkaRetention)
	case f.KafkaAnswerTimeout < 0:
		return fmt.Errorf("--kafka-answer-timeout must be positive, got %v", f.KafkaAnswerTimeout)
	}
	return nil
}

// kafkaSeeds are the addresses of the brokers that were named.
func (f *kafkaFlags) kafkaSeeds() []string { return trimmed(f.Kafka) }

// kafkaOptions are those of every client of Kafka, nodes or not.
func (f *clusterFlags) kafkaOptions(log *slog.Logger) (*kafkaadapter.Options, error) {
	opts := &kafkaadapter.Options{Seeds: f.kafkaSeeds(), Prefix: f.Key, LogPartitions: f.KafkaLogPartitions, Logger: log}
	if f.KafkaUser != "" {
		password, err := f.kafkaPassword()
		if err != nil {
			return nil, err
		}
		opts.SASL = &kafkaadapter.SASL{Mechanism: cmp.Or(f.KafkaSASL, kafkaadapter.ScramSHA512), User: f.KafkaUser, Password: password}
	}
	var err error
	opts.TLS, err = f.kafkaTLS()
	return opts, err
}

func (f *kafkaFlags) kafkaPassword() (string, error) {
	if f.KafkaPasswordFile == "" {
		return f.KafkaPassword, nil
	}
	text, err := os.ReadFile(f.KafkaPasswordFile)
	if err != nil {
		return "", fmt.Errorf("--kafka-password-file: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", errors.New("--kafka-password-file: the file is empty")
	}
	return password, nil
}

// kafkaTLS returns nil if Kafka is reached without TLS.
func (f *kafkaFlags) kafkaTLS() (*tls.Config, error) {
	if !f.KafkaTLS && f.KafkaTLSCA == "" && f.KafkaTLSCert == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	return config, readBrokerTLS(config, "--kafka-tls-", f.KafkaTLSCA, f.KafkaTLSCert, f.KafkaTLSKey)
}

// readBrokerTLS reads the files of a client of a broker, those that are named. The flags that name them begin alike.
func readBrokerTLS(config *tls.Config, flags, ca, cert, key string) error {
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("%sca: %w", flags, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("%sca: %s has no certificate", flags, ca)
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("%scert: %w", flags, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// kafkaBroker is Kafka between the nodes.
type kafkaBroker struct {
	// Static after construction.
	nodes   *kafkaadapter.Kafka
	store   *kafkaadapter.UserStore
	revoked *kafkaadapter.RevocationStore
	logins  *kafkaadapter.AdminStore
}

// openKafka makes the adapter and the stores. None of them connects yet.
func (f *nodeFlags) openKafka(log *slog.Logger) (broker, error) {
	opts, err := f.kafkaOptions(log.With("kafka", strings.Join(f.kafkaSeeds(), ","), "adapter", kafkaAdapter))
	if err != nil {
		return nil, err
	}
	opts.DirectPartitions, opts.ReplicationFactor, opts.Retention = f.KafkaDirectPartitions, f.KafkaReplication, f.KafkaRetention
	opts.AnswerTimeout, opts.NodeOverAfter = f.KafkaAnswerTimeout, f.NodeOverAfter
	opts.Ordered = func(namespace string) bool { return slices.Contains(f.KafkaOrdered, namespace) }
	opts.QueueLimit, opts.QueueAge = f.QueueLimit, f.QueueAge
	b := &kafkaBroker{nodes: kafkaadapter.New(opts)}
	if b.store, err = kafkaadapter.NewUserStore(&kafkaadapter.UserStoreOptions{Options: *opts}); err != nil {
		return nil, err
	}
	if b.revoked, err = kafkaadapter.NewRevocationStore(opts); err != nil {
		return nil, err
	}
	if b.logins, err = kafkaadapter.NewAdminStore(&kafkaadapter.AdminStoreOptions{Options: *opts}); err != nil {
		return nil, err
	}
	return b, nil
}

// kafkaAddress is the host:port of the first broker that was named.
func (f *kafkaFlags) kafkaAddress() string { return f.kafkaSeeds()[0] }

func (b *kafkaBroker) builder() server.AdapterBuilder { return b.nodes }

func (b *kafkaBroker) ready(ctx context.Context) error { return b.nodes.Ready(ctx) }

func (b *kafkaBroker) health() brokerHealth {
	s := b.nodes.Stats()
	return brokerHealth{s.State, s.Since, s.Reason}
}

func (b *kafkaBroker) users() adapter.UserStore { return b.store }

func (b *kafkaBroker) revocations() adapter.RevocationStore { return b.revoked }

func (b *kafkaBroker) adminStore() admin.Store { return b.logins }

func (b *kafkaBroker) close() error {
	return errors.Join(b.store.Close(), b.revoked.Close(), b.logins.Close())
}

// accessKafka opens the way of a command to a cluster on Kafka.
func (f *clusterFlags) accessKafka(log *slog.Logger) (*access, error) {
	opts, err := f.kafkaOptions(log)
	if err != nil {
		return nil, usageError{err}
	}
	e, err := kafkaadapter.NewEmitter(opts)
	if err != nil {
		return nil, usageError{err}
	}
	revoked, err := kafkaadapter.NewRevocationStore(opts)
	if err != nil {
		return nil, usageError{errors.Join(err, e.Close())}
	}
	return &access{e.Emitter, revoked.Revoke, func() error { return errors.Join(e.Close(), revoked.Close()) }}, nil
}
