#!/usr/bin/env bash
# Shows updates without downtime: deploys version A of examples/zero_downtime_deployment, then B and C while requests
# come in at a steady rate, and tells how many there were, how many got no answer, and which version answered when.
# Fails if a request was lost. Leaves nothing behind but what is built and installed.
#
# Usage: scripts/demo.sh [RATE]     requests per second, 100 by default
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

readonly project=kerek-demo
readonly compose_file=examples/zero_downtime_deployment/compose.yaml

main() {
    local rate=${1:-100} environment

    step "Getting ready"
    environment=$(scripts/setup.sh)
    eval "$environment"
    cargo build --release --locked --bin kerek --example load

    # Read by the example's compose.yaml.
    PORT=$(free_port)
    export PORT

    work=$(mktemp -d)
    load=
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    deploy A
    curl --fail --silent --show-error "http://127.0.0.1:$PORT"

    start_load "$rate"
    sleep 2
    deploy B
    sleep 2
    deploy C
    sleep 2
    stop_load
}

step() { printf '\n=== %s\n' "$*"; }

# Prints a port that nobody listens on.
free_port() {
    local port
    for port in {8080..8180}; do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    die "ports 8080 to 8180 are all taken"
}

deploy() {
    step "Deploying version $1"
    GREET_VERSION=$1 target/release/kerek deploy --project-name "$project" --file "$compose_file" --wait
}

start_load() {
    # A page that holds the version and nothing else: the load generator tells answers apart by their first word.
    local url=http://127.0.0.1:$PORT/version
    step "Requesting $url $1 times a second"
    target/release/examples/load --url "$url" --rate "$1" >"$work/summary" &
    load=$!
}

stop_load() {
    local status=0
    step "What became of the requests"
    # SIGTERM, as a background job of a script ignores SIGINT.
    kill -TERM "$load"
    wait "$load" || status=$?
    load=
    cat "$work/summary"
    ((status == 0)) || die "requests were lost"
    say "no request was lost"
}

clean_up() {
    local status=$? volumes
    step "Cleaning up"
    [[ ! $load ]] || kill "$load" || true
    docker compose --project-name "$project" --file "$compose_file" down --volumes --timeout 1 || status=1
    # Kerek keeps its records of the project in volumes with the project's name.
    mapfile -t volumes < <(docker volume ls --quiet --filter "name=$project")
    ((${#volumes[@]} == 0)) || docker volume rm "${volumes[@]}" >/dev/null || status=1
    rm -rf "$work"
    exit "$status"
}

main "$@"
