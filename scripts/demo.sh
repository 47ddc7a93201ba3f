#!/usr/bin/env bash
# Shows the way from a bare server to updates without downtime: `kerek provision` makes a throw-away host a container host,
# `kerek transfer-images` sends the images there, version A of examples/zero_downtime_deployment is deployed there through the context that this leaves, then B and C
# while requests come in at a steady rate. Tells how many there were, how many got no answer, and which version answered
# when. Fails if a request was lost. Leaves nothing behind but what is built and installed.
#
# Usage: scripts/demo.sh [RATE]     requests per second, 100 by default
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

readonly name=kerek-demo
readonly example=examples/zero_downtime_deployment
readonly images=(busybox:1.37 nginx:stable-alpine)
# Of the reverse proxy, on the host. Read by the example's compose.yaml.
export PORT=8080

main() {
    local rate=${1:-100} environment

    step "Getting ready"
    environment=$(scripts/setup.sh)
    eval "$environment"
    # As the tests need it, too, which may come next.
    cargo build --locked --bin kerek --example load

    work=$(mktemp -d)
    load=
    tunnel=
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    step "Starting a host that has nothing but sshd"
    export KEREK_HOSTS=$work/hosts
    docker rm --force --volumes "kerek-host-$name" &>/dev/null || true
    scripts/hosts.sh up --user deploy "$name"
    ssh_config=$(scripts/hosts.sh ssh-config)

    step "Making it a container host"
    target/debug/kerek provision --force --ssh-config "$ssh_config" "$name"

    step "Sending it the images"
    target/debug/kerek --context "$name" transfer-images --ssh-config "$ssh_config" "${images[@]}"

    deploy A
    open_tunnel
    curl --fail --silent --show-error "http://127.0.0.1:$local_port"

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
    GREET_VERSION=$1 target/debug/kerek --context "$name" deploy --ssh-config "$ssh_config" \
        --project-name "$name" --file "$example/compose.yaml" --wait
}

# The proxy's port is for the host alone; ssh brings it here.
open_tunnel() {
    local_port=$(free_port)
    tunnel=$work/tunnel
    # It goes into the background once it is there.
    ssh -F "$ssh_config" -f -N -M -S "$tunnel" -o ExitOnForwardFailure=yes \
        -L "127.0.0.1:$local_port:127.0.0.1:$PORT" "$name"
}

start_load() {
    # A page that holds the version and nothing else: the load generator tells answers apart by their first word.
    local url=http://127.0.0.1:$local_port/version
    step "Requesting $url $1 times a second"
    target/debug/examples/load --url "$url" --rate "$1" >"$work/summary" &
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
    local status=$?
    step "Cleaning up"
    [[ ! $load ]] || kill "$load" || true
    [[ ! -S $tunnel ]] || ssh -F "$ssh_config" -S "$tunnel" -O exit "$name" || true
    scripts/hosts.sh down || status=1
    docker context rm --force "$name" >/dev/null || status=1
    rm -rf "$work"
    exit "$status"
}

main "$@"
