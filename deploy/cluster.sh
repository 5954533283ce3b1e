#!/usr/bin/env bash
# Runs a whole cluster on this machine: Redis, three nodes, nginx in front. Ctrl-C stops what it started, and only that.
#
#   PORT=3000                       where nginx listens
#   NODE_PORTS="3001 3002 3003"     one node for each
#   ADAPTER=sharded                 pubsub, sharded or streams
#   REDIS_PORT=6390                 where the Redis that is started listens
#   REDIS=redis://…                 an existing Redis instead; none is started then
#   SERVE="--ping-interval 10s"     further flags for every node
#   SOCKEYE=bin/sockeye             the binary
#
# Everything listens on 127.0.0.1 only. Logs and configuration are in a directory of their own, which is printed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PORT=${PORT:-3000}
read -ra ports <<< "${NODE_PORTS:-3001 3002 3003}"
ADAPTER=${ADAPTER:-sharded}
REDIS_PORT=${REDIS_PORT:-6390}
REDIS=${REDIS:-}
read -ra flags <<< "${SERVE:-}"
SOCKEYE=${SOCKEYE:-$here/../bin/sockeye}

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
    [[ $seen != *" $port "* ]] || fail "port $port is wanted twice; PORT, NODE_PORTS and REDIS_PORT choose others"
    seen+="$port "
    if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then
      fail "port $port is taken; PORT, NODE_PORTS and REDIS_PORT choose others"
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

# await PORT: waits until something listens there, and fails when what was started last has ended.
await() {
  local tries=0
  until (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; do
    if ! kill -0 "${running[-1]}" 2> /dev/null || ((++tries > 200)); then
      tail -n 5 "$dir/${name_of[${running[-1]}]}.log" >&2
      fail "${name_of[${running[-1]}]} did not start"
    fi
    sleep 0.05
  done
}

# stop_all stops what runs, last started first: nginx, the nodes (which say good-bye to their clients), Redis.
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
    servers+="    server 127.0.0.1:$port max_fails=1 fail_timeout=5s;\n"
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
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path $dir/nginx/body;
    proxy_temp_path $dir/nginx/proxy;
    fastcgi_temp_path $dir/nginx/fastcgi;
    uwsgi_temp_path $dir/nginx/uwsgi;
    scgi_temp_path $dir/nginx/scgi;
    include $dir/nginx/sockeye.conf;
}
EOF
}

[ -x "$SOCKEYE" ] || fail "there is no $SOCKEYE; \`make build\` builds it"
wanted=("$PORT" "${ports[@]}")
[ -n "$REDIS" ] || wanted+=("$REDIS_PORT")
check_ports "${wanted[@]}"
[ -n "$REDIS" ] || require redis-server redis-server
require nginx nginx-light

dir=$(mktemp -d "${TMPDIR:-/tmp}/sockeye-cluster.XXXXXX")
chmod 755 "$dir" # nginx as root gives its workers to another user
trap stop_all EXIT
trap 'echo; echo "cluster: stopping"; exit 0' INT TERM

if [ -z "$REDIS" ]; then
  launch redis redis-server --bind 127.0.0.1 --port "$REDIS_PORT" --save "" --appendonly no --dir "$dir"
  await "$REDIS_PORT"
  REDIS=redis://127.0.0.1:$REDIS_PORT
fi
for i in "${!ports[@]}"; do
  launch "node-$((i + 1))" "$SOCKEYE" serve --addr "127.0.0.1:${ports[i]}" --node-name "node-$((i + 1))" \
    --redis "$REDIS" --adapter "$ADAPTER" ${flags[@]+"${flags[@]}"}
  await "${ports[i]}"
done
write_nginx_conf
launch nginx nginx -p "$dir/nginx" -e stderr -c "$dir/nginx/nginx.conf"
await "$PORT"

echo "cluster: http://localhost:$PORT  nginx, which keeps each browser on one node: use a private window for another user"
for pid in "${running[@]}"; do
  case ${name_of[$pid]} in
  redis) echo "  redis   $REDIS  process $pid" ;;
  node-*) echo "  ${name_of[$pid]}  http://localhost:${ports[${name_of[$pid]#node-} - 1]}  process $pid" ;;
  nginx) echo "  nginx   process $pid" ;;
  esac
done
echo "  logs    $dir"
echo "Try \`kill -9\` on a node, or \`kill -STOP\` and \`kill -CONT\` on Redis. Ctrl-C stops everything."

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
