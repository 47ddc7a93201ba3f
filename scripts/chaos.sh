#!/usr/bin/env bash
# Lets a deploy go wrong at one step after another on a real engine (see tests/chaos.rs), and prints what came of it as
# Markdown. What is not as it has to be is told on stderr; then it fails.
#
# Usage: scripts/chaos.sh [SWEEP]…     requests, signals, restarts, rivals, links, provisioning; all by default
#
# KEREK_CHAOS=20 tries so many cases of each sweep, evenly spread; KEREK_CHAOS=2/5 the second of five parts that together
# are all of them. By default, all are tried, which takes hours.
# RUST_TEST_THREADS sweeps go on side by side, 6 by default, each in KEREK_CHAOS_LANES lanes, 1 by default: most of them
# wait most of the time.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

(($#)) || set -- requests signals restarts rivals links provisioning
tests=()
for sweep; do
    case $sweep in
        requests | signals | restarts | rivals | links) tests+=("chaos::$sweep::") ;;
        provisioning) tests+=(provision::sweep::) ;;
        *)
            printf 'chaos.sh: no sweep is called %s; see the head of this file\n' "$sweep" >&2
            exit 2
            ;;
    esac
done

environment=$(scripts/setup.sh)
eval "$environment"
export KEREK_CHAOS=${KEREK_CHAOS:-all} RUST_TEST_THREADS=${RUST_TEST_THREADS:-6}

log=$(mktemp)
trap 'rm "$log"' EXIT
cargo test --locked --test integration --no-run
status=0
cargo test --locked --test integration -- --nocapture "${tests[@]}" 2>&1 | tee "$log" >&2 || status=$?

compose=$(docker compose version --short)
engine=$(docker version --format '{{.Server.Version}}')
printf '%s: %s, Docker %s, Compose %s, Linux %s, %s CPUs\n\n' "$(date --utc +%F)" \
    "$(cargo run --quiet --locked -- --version)" "$engine" "$compose" "$(uname --kernel-release)" "$(nproc)"
printf '| sweep | cases | tried | met their fault | passed | requests asked | lost | seconds |\n'
printf '|---|---|---|---|---|---|---|---|\n'
grep '^| ' "$log" | sort
exit "$status"
