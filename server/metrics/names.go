package metrics

// Names of the metrics, for dashboards and rules. Times are in seconds, sizes in bytes. What ends in _total counts since the start
// of the process; what ends in _seconds is a histogram. No label has a room, a user, an event or an address as its value. Labels stand behind the names;
// where their values are not listed they are those of the field of Stats that is named.
const (
	// Connections.
	Connections        = "sockeye_connections"             // transport: "polling", "websocket"; state: "open", "upgrading", "closing"
	UnjoinedSessions   = "sockeye_unjoined_connections"    // of the open ones, those in no namespace yet
	MaxConnections     = "sockeye_max_connections"         // what Engine.MaxSessions allows
	Handshakes         = "sockeye_handshakes_total"        // result: "opened", "adopted", or why it was refused: "transport", "method", "request", "forbidden", "protocol", "too_large", "full", "draining"
	UnknownSessions    = "sockeye_unknown_sessions_total"  // requests of sessions that are not known
	Disconnections     = "sockeye_disconnections_total"    // reason, as server.Reason; of sockets
	EndedSessions      = "sockeye_ended_sessions_total"    // reason, of engine.Stats.Ended
	Upgrades           = "sockeye_upgrades_total"          // result: "done", "failed"
	Packets            = "sockeye_packets_total"           // direction: "in", "out"
	Bytes              = "sockeye_bytes_total"             // direction
	OutboxBytes        = "sockeye_outbox_bytes"            // what waits for clients to read
	InputBytes         = "sockeye_input_bytes"             // unfinished and unhandled input, inboxes included
	StateBytes         = "sockeye_state_bytes"             // what sessions keep
	MaxOutboxBytes     = "sockeye_max_outbox_bytes"        // what Engine.OutboxTotal, InputTotal and StateTotal allow
	MaxInputBytes      = "sockeye_max_input_bytes"         //
	MaxStateBytes      = "sockeye_max_state_bytes"         //
	Drops              = "sockeye_dropped_packets_total"   // reason, of engine.Stats.Drops
	LimitHits          = "sockeye_limit_hits_total"        // kind, of engine.Stats.Limits and server.Stats.Limits
	Tokens             = "sockeye_tokens_total"            // result, as whoever verifies them says; only if tokens are watched
	ClientLimitHits    = "sockeye_client_limit_hits_total" // kind, of limits.Limits.Stats; only if limits are watched
	HeartbeatLateness  = "sockeye_heartbeat_late_seconds"  // how late heartbeats are sent
	HeartbeatRoundTrip = "sockeye_heartbeat_round_seconds" // from when a heartbeat is due to its answer

	// Socket.IO.
	Sockets        = "sockeye_sockets"                // namespace
	Rooms          = "sockeye_rooms"                  // namespace
	Namespaces     = "sockeye_namespaces"             // dynamic ones included
	Connecting     = "sockeye_connecting_sockets"     // sockets whose middlewares are running
	Connects       = "sockeye_connects_total"         // namespace; result: "joined", "refused"
	Events         = "sockeye_events_total"           // namespace; outcome, as server.Outcome
	HandlerTime    = "sockeye_handler_seconds"        // namespace
	PendingAcks    = "sockeye_pending_acks"           //
	AckTimeouts    = "sockeye_ack_timeouts_total"     //
	UnknownAcks    = "sockeye_unknown_acks_total"     //
	Recoveries     = "sockeye_recoveries_total"       // result, of server.Stats.Recovery: clients that came back with a session's secret
	Workers        = "sockeye_workers"                // goroutines in application code
	Panics         = "sockeye_panics_total"           //
	Failures       = "sockeye_handler_failures_total" // kind: "arguments", "other"
	ParseErrors    = "sockeye_parse_errors_total"     //
	InboxPauses    = "sockeye_inbox_pauses_total"     //
	Refusals       = "sockeye_hook_refusals_total"    // what Options.Hooks refused
	EncodeFailures = "sockeye_encode_failures_total"  //

	// Cluster. Those of the broker are only there if there is one, those of the directory and of the forwarder if they are watched.
	Members           = "sockeye_cluster_members"                // state: "alive", "silent", "absent"; this node included
	DrainingMembers   = "sockeye_cluster_draining_members"       // of them, those that drain
	Questions         = "sockeye_cluster_questions"              // questions to other nodes that are not settled
	BrokerUp          = "sockeye_broker_up"                      // 0 or 1
	BrokerRoundTrip   = "sockeye_broker_round_seconds"           // from this node through the broker and back to it
	MessageLatency    = "sockeye_message_latency_seconds"        // from this node through the broker to another: half of the time until its answer is here
	CanariesLost      = "sockeye_canaries_lost_total"            // path: "broker", "node"; measurements for the two above that did not come back in time
	BrokerSent        = "sockeye_broker_sent_messages_total"     //
	BrokerReceived    = "sockeye_broker_received_messages_total" //
	BrokerErrors      = "sockeye_broker_publish_errors_total"    // kind, of adapter.BrokerStats.Failed
	BrokerDrops       = "sockeye_broker_dropped_messages_total"  // reason, of adapter.BrokerStats.Dropped
	BrokerQueue       = "sockeye_broker_queued_messages"         // what waits to be sent
	BrokerQueueBytes  = "sockeye_broker_queued_bytes"            //
	Reconnects        = "sockeye_broker_reconnects_total"        //
	Resubscriptions   = "sockeye_broker_resubscriptions_total"   //
	LogBreaks         = "sockeye_broker_log_breaks_total"        // of adapter.BrokerStats.LogBroken
	ServerSideDrops   = "sockeye_server_side_drops_total"        // events of other nodes whose handlers were too slow
	OrderWaits        = "sockeye_cluster_order_waits_total"      // messages that waited for one that was sent before
	OrderTimeouts     = "sockeye_cluster_order_timeouts_total"   // of them, those that went on without
	OrderSkips        = "sockeye_cluster_order_skips_total"      // messages to this node alone that never came
	Forwarded         = "sockeye_forwarded_requests_total"       // result: "answered", "relayed", "served", or why a session was unknown, as forward.Reason
	ForwardRefusals   = "sockeye_forward_refusals_total"         // reason, of forward.Stats.Refused: what the private listener refused
	Relays            = "sockeye_relay_connections"              // websockets relayed to other nodes
	Handovers         = "sockeye_handovers_total"                // direction: "in", "out", "lost"
	DirectoryUsers    = "sockeye_directory_users"                // state: "present", "away", "pending"
	DirectoryCached   = "sockeye_directory_cached_users"         //
	DirectoryStoreUp  = "sockeye_directory_store_up"             // 0 or 1
	DirectoryMixed    = "sockeye_directory_mixed"                // 0 or 1: other nodes may keep no directory
	DirectoryMessages = "sockeye_directory_messages_total"       // way: "directed", "forwarded", "everywhere", "foreign", "lost"
	DirectoryLookups  = "sockeye_directory_lookups_total"        // result: "cached", "asked"
	DirectoryErrors   = "sockeye_directory_store_errors_total"   //
	DirectorySweeps   = "sockeye_directory_swept_lives_total"    //

	// Operation.
	Draining  = "sockeye_draining"        // 0 or 1
	Drained   = "sockeye_drained_total"   // connections that Drain, Rebalance and Shed have closed
	DrainCuts = "sockeye_drain_cut_total" // connections that were left, and cut off, at the end of a drain
	BuildInfo = "sockeye_build_info"      // always 1; version, revision, go
	NodeInfo  = "sockeye_node_info"       // always 1; node, id, adapter
)
