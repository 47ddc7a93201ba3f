#!/usr/bin/env bash
# Runs the tests against a real engine, which it starts first where there is none.
#
# Usage: scripts/test.sh [ARGUMENTS]…     as for `cargo test`
#
# KEREK_COMPOSE_VERSION chooses another Compose than the system's (see scripts/setup.sh).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment=$(scripts/setup.sh)
eval "$environment"

# Most tests wait most of the time.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-6}
exec cargo test --locked "$@"
