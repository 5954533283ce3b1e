#!/usr/bin/env bash
# Runs the compatibility suite: installs the reference packages when the lock
# file changed, builds the Go programs, then runs every test, or those named.
set -euo pipefail
cd "$(dirname "$0")"

installed=node_modules/.package-lock.sum
wanted=$(sha256sum package-lock.json)
if [ "$(cat "$installed" 2>/dev/null)" != "$wanted" ]; then
  npm ci --silent --no-audit --no-fund
  echo "$wanted" > "$installed"
fi

if [ "${COMPAT_SUBJECT:-}" != reference ]; then
  mkdir -p ../bin
  [ -n "${SOCKEYE_BIN:-}" ] || (cd .. && go build -o bin/sockeye ./cmd/sockeye)
  [ -n "${SCENARIO_BIN:-}" ] || (cd .. && go build -o bin/compat-scenario ./compat-tests/cmd/scenario)
fi

files=("$@")
[ ${#files[@]} -gt 0 ] || files=(test/*.test.mjs)

# The page test needs a browser; installing one takes longer than a test may.
case " ${files[*]} " in
*page*) node -e 'import("./test/lib/browser.mjs").then((browser) => browser.provideChromium())' ;;
esac

exec node --test --test-concurrency=2 --test-timeout=240000 --test-reporter="${REPORTER:-spec}" "${files[@]}"
