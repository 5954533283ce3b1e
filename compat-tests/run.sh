#!/usr/bin/env bash
# Runs the compatibility suite: installs the reference packages when the lock
# file changed, builds the Go programs, then runs every test, or those named.
# With --full first, every cell of the cluster matrix instead of a selection;
# npm is then asked whether there are newer versions of the reference.
set -euo pipefail
cd "$(dirname "$0")"

timeout=240000
ask=
if [ "${1:-}" = --full ]; then
  shift
  export COMPAT_FULL=1
  timeout=1800000
  ask=--ask
fi

installed=node_modules/.package-lock.sum
wanted=$(sha256sum package-lock.json)
if [ "$(cat "$installed" 2>/dev/null)" != "$wanted" ]; then
  npm ci --silent --no-audit --no-fund
  echo "$wanted" > "$installed"
fi

node versions.mjs $ask

if [ "${COMPAT_SUBJECT:-}" != reference ]; then
  mkdir -p ../bin
  [ -n "${SOCKEYE_BIN:-}" ] || (cd .. && go build -o bin/sockeye ./cmd/sockeye)
  [ -n "${SCENARIO_BIN:-}" ] || (cd .. && go build -o bin/compat-scenario ./compat-tests/cmd/scenario)
fi

files=("$@")
if [ ${#files[@]} = 0 ]; then
  files=(test/*.test.mjs)
  # Programs in other languages need their compilers and packages, which only the full run installs.
  [ "${COMPAT_FULL:-}" ] || files=("${files[@]/test\/clients.test.mjs/}")
  [ "${COMPAT_FULL:-}" ] || files=("${files[@]/test\/senders.test.mjs/}")
  files=(${files[@]})
fi

# The page test needs a browser, clusters need Redis, proxies nginx, foreign clients and senders Python, Java and PHP; installing them takes longer than
# a test may.
case " ${files[*]} " in
*page*) node -e 'import("./test/lib/browser.mjs").then((browser) => browser.provideChromium())' ;;
esac
case " ${files[*]} " in
*proxy*) node -e 'import("./test/lib/nginx.mjs").then((nginx) => nginx.provideNginx())' ;;
esac
case " ${files[*]} " in
*test/clients*) node -e 'import("./test/lib/clients.mjs").then((clients) => clients.provideClients())' ;;
esac
case " ${files[*]} " in
*test/senders*) node -e 'import("./test/lib/senders.mjs").then((senders) => senders.provideSenders())' ;;
esac
case " ${files[*]} " in
*mixed*|*users*|*senders*) node -e 'import("./test/lib/redis.mjs").then((redis) => redis.provideRedis())' ;;
esac

exec node --test --test-concurrency=2 --test-timeout=$timeout --test-reporter="${REPORTER:-spec}" "${files[@]}"
