#!/usr/bin/env bash
# Measures speed and size on this machine, beside Compose and other ways to send images in the same run, and prints
# tables in Markdown. Fails if a target is missed. Close other programs first: what is measured are times.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment=$(scripts/setup.sh)
eval "$environment"

exec cargo bench --locked --no-fail-fast --bench deploy --bench remote --bench provision --bench transfer
