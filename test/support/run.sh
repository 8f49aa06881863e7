#!/usr/bin/env bash
# The whole test run: prepares what the tests need, then types, lint and AVA. `npm test` starts it.
#
# FCR_TEST_SKIP=kernel,postgres   leaves groups out, by name; the summary says so.
# npm test -- test/unit/x.test.ts runs only these files, without types and lint.
# The last line is "N passed, N failed" (", N skipped" may follow); the exit code is 0 only if nothing failed.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=test/support/pinned-node.sh
. test/support/pinned-node.sh
export LC_ALL=C.UTF-8

export FCR_TEST_SKIP="${FCR_TEST_SKIP:-}"
known_groups="clients fc-lab kernel package postgres redis"
passed=0
failed=0
skipped=0

finish() {
  [ -z "$FCR_TEST_SKIP" ] || echo "left out by FCR_TEST_SKIP: ${FCR_TEST_SKIP//,/, }"
  local tail=""
  [ "$skipped" -eq 0 ] || tail=", $skipped skipped"
  echo "$passed passed, $failed failed$tail"
  [ "$failed" -eq 0 ]
  exit
}

refuse() {
  echo "npm test: $*" >&2
  failed=$((failed + 1))
  finish
}

wants() { [[ ",$FCR_TEST_SKIP," != *",$1,"* ]]; }

check_groups() {
  local group
  for group in ${FCR_TEST_SKIP//,/ }; do
    [[ " $known_groups " == *" $group "* ]] || refuse "FCR_TEST_SKIP names '$group'; the groups are: $known_groups"
  done
}

# Names the Debian packages whose programs are not there.
missing_packages() {
  local have
  have() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }
  have setpriv || echo util-linux
  if wants postgres || wants clients; then compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || echo postgresql; fi
  if wants package; then have systemd-analyze || echo systemd; fi
  if wants redis; then have redis-server || echo redis-server; fi
  if wants clients; then
    have dockerd || echo docker.io
    have docker-compose || echo docker-compose
    have podman || echo podman
    have runc || echo runc
    dpkg -s busybox-static >/dev/null 2>&1 || echo busybox-static
  fi
  if wants kernel || wants clients; then
    have mkfs.ext4 || echo e2fsprogs
    have mkfs.xfs || echo xfsprogs
    have losetup || echo mount
    have ip || echo iproute2
    have curl || echo curl
  fi
}

# A server that a package brings must not start by itself: the tests start their own, on unix sockets.
install_packages() {
  local packages="$*"
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    refuse "these Debian packages are missing: $packages (root and apt-get would install them; FCR_TEST_SKIP leaves groups out)"
  fi
  echo "installing Debian packages: $packages"
  if [[ " $packages " == *" postgresql "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
  fi
  local rc=0 policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f "$log" '$policy EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  # shellcheck disable=SC2086
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages; } >"$log" 2>&1 || rc=$?
  [ $rc -ne 0 ] || return 0
  tail -n 20 "$log" >&2
  refuse "apt-get could not install: $packages"
}

check_machine() {
  [ -x node_modules/.bin/ava ] || refuse "the npm packages are missing: run npm ci first"
  [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 24 ] || refuse "Node 24 is missing: npm ci brings it"
  if { wants kernel || wants clients; } && [ "$(id -u)" -ne 0 ]; then
    refuse "the groups kernel and clients need root; FCR_TEST_SKIP=kernel,clients leaves them out"
  fi
}

step() {
  local name="$1"
  shift
  echo "== $name"
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

count() { sed -nE "s/^ *([0-9]+) $1.*/\1/p" "$log" | tail -n 1 | grep . || echo 0; }

run_tests() {
  local patterns=("$@") group ran code
  if [ $# -eq 0 ]; then
    patterns=('test/**/*.test.ts')
    for group in $known_groups; do wants "$group" || patterns+=("!test/$group/**"); done
  fi
  echo "== tests"
  NO_COLOR=1 ava "${patterns[@]}" 2>&1 | tee "$log"
  code=${PIPESTATUS[0]}
  ran=$(count 'tests? passed')
  # AVA says how many passed only where none failed.
  [ "$ran" -gt 0 ] || ran=$(grep -c '^ *✔ ' "$log")
  passed=$((passed + ran))
  ran=$((ran + $(count 'tests? failed')))
  failed=$((failed + $(count 'tests? failed') + $(count 'uncaught exceptions?') + $(count 'unhandled rejections?')))
  skipped=$((skipped + $(count 'tests? skipped')))
  if [ "$ran" -eq 0 ]; then refuse "no test ran"; fi
  if [ "$code" -ne 0 ] && [ "$failed" -eq 0 ]; then refuse "AVA ended with $code"; fi
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
check_groups
missing=$(missing_packages | sort -u | tr '\n' ' ')
# shellcheck disable=SC2086
[ -z "${missing// /}" ] || install_packages ${missing% }
check_machine
if [ $# -eq 0 ]; then
  step types tsc --noEmit
  step lint biome check --error-on-warnings .
fi
run_tests "$@"
finish
