#!/usr/bin/env bash
# Runs a whole cluster on this machine: a broker, three nodes, nginx in front. Ctrl-C stops what it started, and only that.
#
#   PORT=3000                       where nginx listens
#   NODE_PORTS="3001 3002 3003"     one node for each
#   BROKER=redis                    what stands between the nodes: redis, nats, kafka, or embedded for NATS inside the nodes, which
#                                   needs nothing beside them
#   ADAPTER=sharded                 redis: pubsub, sharded or streams
#   REDIS_PORT=6390                 redis: where the Redis that is started listens
#   REDIS=redis://…                 redis: an existing one instead; none is started then
#   NATS_PORT=4290                  nats: where the NATS that is started listens
#   NATS=nats://…                   nats: an existing one instead; none is started then
#   KAFKA_PORT=9392                 kafka: where the Kafka that is started listens, on the next port, too. It is fetched with Maven
#   KAFKA=host:port,…               kafka: an existing one instead; none is started then
#   ROUTE_PORT=6222                 embedded: where the first node takes routes; the others have the next ports
#   SERVE="--ping-interval 10s"     further flags for every node
#   METRICS=1                       Prometheus too, and the dashboards of deploy/grafana; Grafana itself if it is installed
#   METRICS_PORT=3100               where the dashboards are shown
#   PROMETHEUS_PORT=9090            where Prometheus listens
#   GRAFANA_PORT=3200               where Grafana listens
#   ADMIN_PORT=9001                 what operators and Prometheus ask of the first node; the others have the next ports
#   SOCKEYE=bin/sockeye             the binary
#
# Everything listens on 127.0.0.1 only. Logs and configuration are in a directory of their own, which is printed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PORT=${PORT:-3000}
read -ra ports <<< "${NODE_PORTS:-3001 3002 3003}"
BROKER=${BROKER:-redis}
ADAPTER=${ADAPTER:-sharded}
REDIS_PORT=${REDIS_PORT:-6390}
REDIS=${REDIS:-}
NATS_PORT=${NATS_PORT:-4290}
NATS=${NATS:-}
KAFKA_PORT=${KAFKA_PORT:-9392}
KAFKA=${KAFKA:-}
ROUTE_PORT=${ROUTE_PORT:-6222}
read -ra flags <<< "${SERVE:-}"
SOCKEYE=${SOCKEYE:-$here/../bin/sockeye}
METRICS=${METRICS:-}
METRICS_PORT=${METRICS_PORT:-3100}
PROMETHEUS_PORT=${PROMETHEUS_PORT:-9090}
GRAFANA_PORT=${GRAFANA_PORT:-3200}
ADMIN_PORT=${ADMIN_PORT:-9001}
# nginx learns that a node drains when that refuses a client, not before.
export SOCKEYE_DRAIN_GRACE=${SOCKEYE_DRAIN_GRACE:-0s}

fail() {
  echo "cluster: $*" >&2
  exit 1
}

# require PROGRAM PACKAGE: finds a program, or installs its package where that is possible.
require() {
  PATH=$PATH:/usr/sbin
  command -v "$1" > /dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo "cluster: installing $2"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" > /dev/null || true
  fi
  command -v "$1" > /dev/null || fail "$1 is needed: run \`apt-get install $2\` as root"
}

# check_ports PORT...: refuses a port that is no number, given twice, or taken.
check_ports() {
  local port seen=" "
  for port; do
    [[ $port =~ ^[0-9]{1,5}$ ]] && ((port > 0 && port < 65536)) || fail "$port is no port"
    [[ $seen != *" $port "* ]] || fail "port $port is wanted twice; PORT, NODE_PORTS, REDIS_PORT, NATS_PORT, KAFKA_PORT, ROUTE_PORT and those for METRICS choose others"
    seen+="$port "
    if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then
      fail "port $port is taken; PORT, NODE_PORTS, REDIS_PORT, NATS_PORT, KAFKA_PORT, ROUTE_PORT and those for METRICS choose others"
    fi
  done
}

declare -A name_of=() # by process id, of what runs
running=()            # process ids in the order of the starts

# launch NAME COMMAND...: starts a process of its own session, so that Ctrl-C in the terminal does not reach it: the order
# in which things stop is stop_all's. It ends with this script even if the script is killed. Its log is a file.
launch() {
  local name=$1
  shift
  setsid setpriv --pdeathsig TERM -- "$@" < /dev/null >> "$dir/$name.log" 2>&1 &
  name_of[$!]=$name
  running+=("$!")
}

did_not_start() {
  tail -n 5 "$dir/${name_of[${running[-1]}]}.log" >&2
  fail "${name_of[${running[-1]}]} did not start"
}

# await PORT [SECONDS]: waits until something listens there, and fails when what was started last has ended.
await() {
  local tries=0
  until (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; do
    kill -0 "${running[-1]}" 2> /dev/null && ((++tries <= 20 * ${2:-10})) || did_not_start
    sleep 0.05
  done
  # Else somebody else listens there.
  kill -0 "${running[-1]}" 2> /dev/null || did_not_start
}

# stop_all stops what runs, last started first: nginx, the nodes (which send their clients away), the broker.
stop_all() {
  trap '' INT TERM
  local i pid
  for ((i = ${#running[@]} - 1; i >= 0; i--)); do
    pid=${running[i]}
    # Who was stopped with SIGSTOP hears of nothing before it goes on.
    kill -TERM "$pid" 2> /dev/null && kill -CONT "$pid" && wait "$pid" 2> /dev/null || true
  done
  running=()
}

write_nginx_conf() {
  local servers="" port
  for port in "${ports[@]}"; do
    servers+="    server 127.0.0.1:$port max_fails=0;\n"
  done
  mkdir -p "$dir/nginx"
  # The file that people copy, with the addresses of this cluster.
  sed -e '/^    server 127.0.0.1:3001 /i\'$'\n'"@servers@" -e '/^    server 127.0.0.1:/d' \
    -e "s/^    listen 3000;/    listen 127.0.0.1:$PORT;/" "$here/nginx/sockeye.conf" |
    sed -e "s/^@servers@$/${servers%\\n}/" > "$dir/nginx/sockeye.conf"
  cat > "$dir/nginx/nginx.conf" << EOF
daemon off;
worker_processes 1;
pid $dir/nginx/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 16384;
events { worker_connections 16384; }
http {
    access_log off;
    client_body_temp_path $dir/nginx/body;
    proxy_temp_path $dir/nginx/proxy;
    fastcgi_temp_path $dir/nginx/fastcgi;
    uwsgi_temp_path $dir/nginx/uwsgi;
    scgi_temp_path $dir/nginx/scgi;
    include $dir/nginx/sockeye.conf;
    include $dir/nginx/metrics*.conf;
}
EOF
}

# write_metrics_conf writes what Prometheus scrapes, and has nginx show the dashboards, which ask Prometheus.
write_metrics_conf() {
  mkdir -p "$dir/nginx" "$dir/prometheus"
  local targets
  targets=$(printf '"127.0.0.1:%s", ' "${admin_ports[@]}")
  # The file that people copy, with the addresses of this cluster.
  sed -e "s/targets: \[.*\]/targets: [${targets%, }]/" "$here/prometheus/prometheus.yml" > "$dir/prometheus/prometheus.yml"
  cp "$here/prometheus/rules.yml" "$dir/prometheus/"
  cp -r "$here/grafana" "$dir/dashboards"
  cat > "$dir/nginx/metrics.conf" << EOF
server {
    listen 127.0.0.1:$METRICS_PORT;
    root $dir/dashboards;
    index view.html;
    location ~ \.json$ { default_type application/json; }
    location ~ \.html$ { default_type text/html; }
    location /api/ { proxy_pass http://127.0.0.1:$PROMETHEUS_PORT; }
}
EOF
}

# start_grafana starts Grafana with the dashboards, where it is installed.
start_grafana() {
  local program home
  program=$(command -v grafana-server || command -v grafana) || return 0
  home=${GF_PATHS_HOME:-/usr/share/grafana}
  [ -d "$home" ] || return 0
  mkdir -p "$dir/grafana/provisioning/datasources" "$dir/grafana/provisioning/dashboards"
  cat > "$dir/grafana/provisioning/datasources/prometheus.yaml" << EOF
apiVersion: 1
datasources: [{name: Prometheus, type: prometheus, url: "http://127.0.0.1:$PROMETHEUS_PORT", isDefault: true}]
EOF
  cat > "$dir/grafana/provisioning/dashboards/sockeye.yaml" << EOF
apiVersion: 1
providers: [{name: sockeye, options: {path: "$dir/dashboards"}}]
EOF
  GF_PATHS_PROVISIONING=$dir/grafana/provisioning GF_PATHS_DATA=$dir/grafana GF_PATHS_LOGS=$dir/grafana \
    GF_SERVER_HTTP_ADDR=127.0.0.1 GF_SERVER_HTTP_PORT=$GRAFANA_PORT GF_AUTH_ANONYMOUS_ENABLED=true GF_AUTH_ANONYMOUS_ORG_ROLE=Admin \
    launch grafana "$program" $([ "${program##*/}" = grafana ] && echo server) --homepath "$home"
}

[ -x "$SOCKEYE" ] || fail "there is no $SOCKEYE; \`make build\` builds it"
wanted=("$PORT" "${ports[@]}")
route_ports=()
case $BROKER in
redis) [ -n "$REDIS" ] || wanted+=("$REDIS_PORT") ;;
nats) [ -n "$NATS" ] || wanted+=("$NATS_PORT") ;;
kafka) [ -n "$KAFKA" ] || wanted+=("$KAFKA_PORT" "$((KAFKA_PORT + 1))") ;;
embedded)
  for i in "${!ports[@]}"; do route_ports+=("$((ROUTE_PORT + i))"); done
  wanted+=("${route_ports[@]}")
  ;;
*) fail "BROKER is redis, nats, kafka or embedded, not $BROKER" ;;
esac
admin_ports=()
if [ -n "$METRICS" ]; then
  for i in "${!ports[@]}"; do admin_ports+=("$((ADMIN_PORT + i))"); done
  wanted+=("$METRICS_PORT" "$PROMETHEUS_PORT" "$GRAFANA_PORT" "${admin_ports[@]}")
fi
[ "$BROKER" != redis ] || [ -n "$REDIS" ] || require redis-server redis-server
[ "$BROKER" != nats ] || [ -n "$NATS" ] || require nats-server nats-server
[ "$BROKER" != kafka ] || [ -n "$KAFKA" ] || require java default-jre-headless
require nginx nginx-light
[ -z "$METRICS" ] || require prometheus prometheus
# After that: a package may have started what it installed.
check_ports "${wanted[@]}"

dir=$(mktemp -d "${TMPDIR:-/tmp}/sockeye-cluster.XXXXXX")
chmod 755 "$dir" # nginx as root gives its workers to another user
trap stop_all EXIT
trap 'echo; echo "cluster: stopping"; exit 0' INT TERM

# fetch_kafka has Maven fetch the jars of Kafka, once, into the folder that the tests have, too, and sets where they are.
fetch_kafka() {
  local pom=$here/../internal/kafkatest/testdata/pom.xml home=${XDG_CACHE_HOME:-$HOME/.cache}/sockeye-kafkatest new sum
  sum=$(sha256sum "$pom")
  jars=$home/${sum:0:16}
  [ ! -d "$jars" ] || return 0
  require mvn maven
  echo "cluster: fetching Kafka"
  mkdir -p "$home"
  new=$(mktemp -d "$home/new.XXXXXX")
  cp "$pom" "$new/pom.xml"
  (cd "$new" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib) || fail "Kafka cannot be fetched"
  [ -d "$jars" ] || mv "$new/lib" "$jars" # somebody else may have been faster
  rm -rf "$new"
}

# start_kafka starts one broker of Kafka, which is its own controller.
start_kafka() {
  local jars
  fetch_kafka
  mkdir -p "$dir/kafka"
  cat > "$dir/kafka/server.properties" << EOF
process.roles=broker,controller
node.id=1
log.dirs=$dir/kafka/data
listeners=CLIENTS://127.0.0.1:$KAFKA_PORT,CONTROLLER://127.0.0.1:$((KAFKA_PORT + 1))
advertised.listeners=CLIENTS://127.0.0.1:$KAFKA_PORT
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:$((KAFKA_PORT + 1))
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=8388608
EOF
  java -cp "$jars/*" -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format --standalone -t c29ja2V5ZS1jbHVzdGVyLg \
    -c "$dir/kafka/server.properties" > "$dir/kafka.log" 2>&1 || fail "Kafka's storage cannot be made: $(tail -n 1 "$dir/kafka.log")"
  launch kafka java -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*" kafka.Kafka "$dir/kafka/server.properties"
  await "$KAFKA_PORT" 60
  KAFKA=127.0.0.1:$KAFKA_PORT
}

# start_broker starts what stands beside the nodes, and sets the flags with which all of them find it.
start_broker() {
  case $BROKER in
  redis)
    if [ -z "$REDIS" ]; then
      launch redis redis-server --bind 127.0.0.1 --port "$REDIS_PORT" --save "" --appendonly no --dir "$dir"
      await "$REDIS_PORT"
      REDIS=redis://127.0.0.1:$REDIS_PORT
    fi
    broker=(--redis "$REDIS" --adapter "$ADAPTER")
    ;;
  nats)
    if [ -z "$NATS" ]; then
      launch nats nats-server -a 127.0.0.1 -p "$NATS_PORT"
      await "$NATS_PORT"
      NATS=nats://127.0.0.1:$NATS_PORT
    fi
    broker=(--nats "$NATS")
    ;;
  kafka)
    [ -n "$KAFKA" ] || start_kafka
    broker=(--kafka "$KAFKA")
    ;;
  embedded)
    local routes
    routes=$(printf ',nats://127.0.0.1:%s' "${route_ports[@]}")
    broker=(--nats-routes "${routes#,}")
    ;;
  esac
}

broker=()
start_broker
for i in "${!ports[@]}"; do
  launch "node-$((i + 1))" "$SOCKEYE" serve --addr "127.0.0.1:${ports[i]}" --node-name "node-$((i + 1))" \
    "${broker[@]}" ${route_ports[@]+--nats-embed "127.0.0.1:${route_ports[i]}"} ${admin_ports[@]+--admin-addr "127.0.0.1:${admin_ports[i]}"} ${flags[@]+"${flags[@]}"}
  await "${ports[i]}"
done
write_nginx_conf
if [ -n "$METRICS" ]; then
  write_metrics_conf
  launch prometheus prometheus --config.file "$dir/prometheus/prometheus.yml" --storage.tsdb.path "$dir/prometheus/data" \
    --web.listen-address "127.0.0.1:$PROMETHEUS_PORT"
  await "$PROMETHEUS_PORT"
  start_grafana
fi
launch nginx nginx -p "$dir/nginx" -e stderr -c "$dir/nginx/nginx.conf"
await "$PORT"

echo "cluster: http://localhost:$PORT  nginx, which gives the requests to the nodes in turns"
for pid in "${running[@]}"; do
  case ${name_of[$pid]} in
  redis) echo "  redis   $REDIS  process $pid" ;;
  nats) echo "  nats    $NATS  process $pid" ;;
  kafka) echo "  kafka   $KAFKA  process $pid" ;;
  node-*) echo "  ${name_of[$pid]}  http://localhost:${ports[${name_of[$pid]#node-} - 1]}  process $pid" ;;
  nginx) echo "  nginx   process $pid" ;;
  prometheus) echo "  prometheus  http://localhost:$PROMETHEUS_PORT  process $pid" ;;
  grafana) echo "  grafana     http://localhost:$GRAFANA_PORT  process $pid" ;;
  esac
done
[ -z "$METRICS" ] || echo "  metrics http://localhost:$METRICS_PORT  the dashboards"
echo "  logs    $dir"
echo "Try \`kill -9\` on a node, or \`kill -STOP\` and \`kill -CONT\` on one or on the broker. Ctrl-C stops everything."

# Tell what ends on its own, and go on with the rest.
while [ ${#running[@]} -gt 0 ]; do
  status=0
  wait -n -p ended "${running[@]}" || status=$?
  [ -n "${ended:-}" ] || continue
  echo "cluster: ${name_of[$ended]} (process $ended) ended with status $status"
  left=()
  for pid in "${running[@]}"; do
    [ "$pid" = "$ended" ] || left+=("$pid")
  done
  running=(${left[@]+"${left[@]}"})
  unset ended
done
