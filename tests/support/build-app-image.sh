#!/usr/bin/env bash
# Builds the image `kerek-test-app`, which holds nothing but the test programs `app` (its entrypoint) and `load`. Quick if
# they have not changed: the image is labelled with the digest of what it was made of.
#
# Usage: build-app-image.sh [OPTION]…     options for `cargo rustc`, such as `--release`
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly image=kerek-test-app

# What Cargo sets for the tests that call this would have some dependencies compiled anew, which look at it.
mapfile -t set_by_cargo < <(compgen -e CARGO_PKG_ && compgen -e CARGO_MANIFEST_ && compgen -e CARGO_BIN_)
unset "${set_by_cargo[@]}"

main() {
    local app load digest former
    app=$(build app "$@")
    load=$(build load "$@")
    digest=$(cat "$app" "$load" | sha256sum | cut --characters=-64)
    former=$(docker image inspect --format '{{.Id}} {{index .Config.Labels "kerek.test.digest"}}' "$image" 2>/dev/null) || true
    if [[ ${former#* } == "$digest" ]]; then
        return
    fi
    tar --create --numeric-owner --owner=0 --group=0 \
        --directory="$(dirname "$app")" "$(basename "$app")" --directory="$(dirname "$load")" "$(basename "$load")" |
        docker import --change 'ENTRYPOINT ["/app"]' --change 'EXPOSE 8080' --change "LABEL kerek.test.digest=$digest" - \
            "$image" >/dev/null
    # Stays where a container still uses it.
    if [[ $former ]]; then
        docker image rm "${former%% *}" &>/dev/null || true
    fi
}

# Builds example $1 and prints its path. It is linked statically, as the image has no libraries; what it is made of is the
# same as for tests with these options, so that little is compiled.
build() {
    local example=$1
    shift
    "${CARGO:-cargo}" rustc --quiet --message-format=json --example "$example" "$@" -- \
        -C target-feature=+crt-static -C strip=symbols |
        sed --quiet 's/.*"executable":"\([^"]*\)".*/\1/p'
}

main "$@"
