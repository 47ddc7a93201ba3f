#!/usr/bin/env bash
# Throw-away hosts to try and to test kerek on: Debian or Ubuntu with systemd, sshd and sudo, each a container of the local engine.
# They are reached over ssh with a key of their own, and only from this machine.
#
# Usage: scripts/hosts.sh up [OPTION]… NAME…
#        scripts/hosts.sh load NAME IMAGE…         copies images of the local engine to the host's
#        scripts/hosts.sh list
#        scripts/hosts.sh ssh-config               prints the path of an SSH configuration with all of them
#        scripts/hosts.sh down [NAME]…             all of them by default
#        scripts/hosts.sh build [KIND [RELEASE]]   makes images beforehand: all by default
#
# For example:
#
#   scripts/hosts.sh up vps && ssh -F "$(scripts/hosts.sh ssh-config)" vps
#   scripts/hosts.sh up --kind docker --user deploy --sshd 'MaxSessions 1' narrow
#   scripts/hosts.sh down
#
# Options of `up`:
#
#   --kind KIND        fresh (default): without an engine; docker; podman: with the sockets of root and of `deploy`
#   --release RELEASE  trixie (default) or bookworm; noble, of Ubuntu
#   --user USER        who logs in: root (default) or deploy
#   --sudo RIGHT       what `deploy` may do as root: all (default), password (asked for, it is `deploy`), none
#   --no-docker-group  `deploy` needs sudo for Docker
#   --shell SHELL      everybody's login shell: bash (default), fish, tcsh
#   --sshd LINE        a line of sshd_config, such as 'AllowStreamLocalForwarding no'; may be repeated
#   --banner TEXT      sent by sshd before the login
#   --noise TEXT       printed by every login shell, also when it is to run but one command
#   --label LABEL      of the container; may be repeated
#
# The first host of a kind takes a minute or two, as its image is made of the distribution's packages; further ones take seconds.
# Hosts belong to the folder that holds their keys and SSH configurations, KEREK_HOSTS, by default a private one in the
# user's cache. Container and SSH alias are called as the host, the former with the prefix `kerek-host-`.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

readonly cache=${XDG_CACHE_HOME:-$HOME/.cache}/kerek
readonly folder=${KEREK_HOSTS:-$cache/hosts}
readonly kinds=(fresh docker podman)
readonly releases=(trixie bookworm noble)
# What a host may take until it can be used.
readonly patience_seconds=180

main() {
    local command=${1:-}
    shift || true
    case $command in
        up) up "$@" ;;
        load) load "$@" ;;
        list) list "$@" ;;
        ssh-config) ssh_config "$@" ;;
        down) down "$@" ;;
        build) build "$@" ;;
        *) die "unknown command: ${command:-none}; the head of scripts/hosts.sh tells which there are" ;;
    esac
}

# --- up

up() {
    local kind=fresh release=trixie user=root sudo=all group=yes shell=bash sshd='' banner='' noise='' labels=() names=()
    local name names_up=()
    while (($#)); do
        case $1 in
            --no-docker-group)
                group=no
                shift
                continue
                ;;
            --*) (($# > 1)) || die "$1 needs a value" ;;
        esac
        case $1 in
            --kind) kind=$2 ;;
            --release) release=$2 ;;
            --user) user=$2 ;;
            --sudo) sudo=$2 ;;
            --shell) shell=$2 ;;
            --sshd) sshd+=$2$'\n' ;;
            --banner) banner=$2 ;;
            --noise) noise=$2 ;;
            --label) labels+=(--label "$2") ;;
            -*) die "unknown option: $1" ;;
            *)
                names+=("$1")
                shift
                continue
                ;;
        esac
        shift 2
    done
    one_of "$kind" "${kinds[@]}"
    one_of "$release" "${releases[@]}"
    one_of "$user" root deploy
    one_of "$sudo" all password none
    one_of "$shell" bash fish tcsh
    ((${#names[@]})) || die "which host? Please give it a name"
    for name in "${names[@]}"; do
        check_name "$name"
    done

    command -v ssh-keygen >/dev/null || apt_install openssh-client
    ensure_image "$kind" "$release"
    ensure_systemd_hierarchy
    make_folder
    for name in "${names[@]}"; do
        start "$name"
        names_up+=("$name")
    done
    for name in "${names_up[@]}"; do
        wait_for "$name"
    done
}

one_of() {
    local value=$1 one
    shift
    for one in "$@"; do
        [[ $value != "$one" ]] || return 0
    done
    die "$value is none of: $*"
}

# A name is also that of a file, of a container and of an SSH alias.
check_name() { [[ $1 =~ ^[a-z0-9][a-z0-9-]{0,62}$ ]] || die "not a name of small letters, digits and \"-\": $1"; }

container() { echo "kerek-host-$1"; }

make_folder() {
    (umask 077 && mkdir -p "$folder")
    # A pattern, so that hosts come and go without this file being written again.
    echo "Include \"$folder/*/ssh_config\"" >"$folder/ssh_config"
}

# Starts host $1 as the variables of `up` say.
start() {
    local name=$1 own=$folder/$1
    ! docker container inspect "$(container "$name")" &>/dev/null || die "$name is up already; \"down\" removes it"
    rm -rf "$own"
    (umask 077 && mkdir "$own")
    ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$own/key"
    ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$own/host_key"

    docker run --detach --name "$(container "$name")" --hostname "$name" \
        --privileged --cgroupns private --publish 127.0.0.1::22 \
        --label "kerek.host=$name" --label "kerek.host.folder=$folder" --label "kerek.host.kind=$kind-$release" \
        "${labels[@]}" \
        --env HOST_AUTHORIZED_KEY="$(<"$own/key.pub")" \
        --env HOST_KEY="$(base64 --wrap 0 "$own/host_key")" \
        --env HOST_SSHD="$sshd" \
        --env HOST_BANNER="$banner" \
        --env HOST_NOISE="$noise" \
        --env HOST_SHELL="$shell" \
        --env HOST_SUDO="$sudo" \
        --env HOST_DOCKER_GROUP="$group" \
        "kerek-host:$release-$kind" >/dev/null
    write_ssh_config "$name" "$own"
}

write_ssh_config() {
    local name=$1 own=$2 port host_key
    port=$(docker port "$(container "$name")" 22/tcp)
    port=${port##*:}
    host_key=$(cut -d ' ' -f 1,2 "$own/host_key.pub")
    # By alias, also when reached through a proxy at another port; by address, for those who give that.
    printf '%s %s\n' "$name" "$host_key" "[127.0.0.1]:$port" "$host_key" >"$own/known_hosts"
    cat >"$own/ssh_config" <<EOT
Host $name
    HostName 127.0.0.1
    Port $port
    User $user
    HostKeyAlias $name
    IdentityFile "$own/key"
    IdentitiesOnly yes
    UserKnownHostsFile "$own/known_hosts"
EOT
}

# Returns when logins are possible and the engine, should there be one, answers. Asks within the container: nobody else
# logs in by ssh than who is to be seen to do so.
wait_for() {
    local name=$1 sockets=() condition
    case $kind in
        docker) sockets=(/run/docker.sock) ;;
        podman) sockets=(/run/podman/podman.sock /run/user/1000/podman/podman.sock) ;;
    esac
    # A service is active once it says that it listens. Until the other one is, only root may log in.
    condition='systemctl is-active --quiet ssh && systemctl is-active --quiet systemd-user-sessions'
    # As it starts, it makes a folder, which is not to be taken for the doing of whoever comes next.
    condition+=' && systemctl is-active --quiet systemd-logind'
    if [[ $kind == docker ]]; then
        condition+=' && systemctl is-active --quiet docker'
    fi
    if ((${#sockets[@]})); then
        condition+=$(printf ' && test -S %s' "${sockets[@]}")
    fi
    docker exec "$(container "$name")" timeout "$patience_seconds" \
        sh -c "until $condition; do sleep 0.05; done 2>/dev/null" ||
        die "$name is not ready after $patience_seconds s: see \`docker exec $(container "$name") journalctl\`"
    say "$name is up"
}

# Where cgroups are those of version 1, systemd keeps account of its processes in a hierarchy of its own. Unless that is
# there before the containers, each systemd would mount it anew and find the processes of all others in it.
ensure_systemd_hierarchy() {
    local mount=/sys/fs/cgroup/systemd
    [[ -d /sys/fs/cgroup && $(stat --file-system --format %T /sys/fs/cgroup) != cgroup2fs ]] || return 0
    ! grep --quiet ' - cgroup .*\bname=systemd\b' /proc/self/mountinfo || return 0
    say "mounting the cgroup hierarchy of systemd"
    as_root mkdir -p "$mount"
    as_root mount -t cgroup -o none,name=systemd cgroup "$mount"
}

# --- Others

load() {
    local name=${1:-} container kind
    shift || true
    check_name "$name"
    (($#)) || die "which images? Please name some"
    container=$(container "$name")
    kind=$(docker container inspect --format '{{index .Config.Labels "kerek.host.kind"}}' "$container")
    case $(engine_of "$container" "$kind") in
        docker) docker save "$@" | docker exec --interactive "$container" docker load --quiet >/dev/null ;;
        podman)
            # For podman, names without a registry are local ones, where Compose means those of Docker Hub. The output
            # has a line for each image.
            # shellcheck disable=SC2016  # meant for the inner shell
            docker save "$@" | docker exec --interactive --user deploy --workdir / "$container" \
                env XDG_RUNTIME_DIR=/run/user/1000 sh -c 'podman load --quiet 2>/dev/null | while read -r _ _ image; do
                    case $image in
                        localhost/*) podman tag "$image" "docker.io/library/${image#localhost/}" && podman untag "$image" "$image" ;;
                    esac 2>/dev/null
                done'
            ;;
        *) die "$name has no engine" ;;
    esac
}

# Prints the engine of container $1, which was given it when it was made ($2 is its kind) or has got it since.
engine_of() {
    case $2 in
        fresh-*)
            if docker exec "$1" test -S /run/docker.sock; then
                echo docker
            elif docker exec "$1" test -S /run/user/1000/podman/podman.sock; then
                echo podman
            fi
            ;;
        *) echo "${2%%-*}" ;;
    esac
}

list() {
    docker ps --all --filter "label=kerek.host.folder=$folder" \
        --format 'table {{.Label "kerek.host"}}\t{{.Label "kerek.host.kind"}}\t{{.Status}}\t{{.Ports}}'
}

ssh_config() {
    make_folder
    echo "$folder/ssh_config"
}

down() {
    local name names=("$@")
    if ! (($#)); then
        mapfile -t names < <(
            docker ps --all --filter "label=kerek.host.folder=$folder" --format '{{.Label "kerek.host"}}'
        )
    fi
    for name in "${names[@]}"; do
        check_name "$name"
        docker rm --force --volumes "$(container "$name")" >/dev/null
        rm -rf "${folder:?}/$name"
    done
}

# --- Images

build() {
    local kind release of_kinds=("${kinds[@]}") of_releases=("${releases[@]}")
    (($# <= 2)) || die "\"build\" takes a kind and a release"
    (($# < 1)) || of_kinds=("$1")
    (($# < 2)) || of_releases=("$2")
    # Whoever makes images starts hosts: if not here, then with Vagrant.
    ensure_systemd_hierarchy
    for kind in "${of_kinds[@]}"; do
        one_of "$kind" "${kinds[@]}"
        for release in "${of_releases[@]}"; do
            one_of "$release" "${releases[@]}"
            ensure_image "$kind" "$release"
        done
    done
}

# An image is labelled with the digest of what it was made from, and made again where that has changed.
ensure_image() {
    local kind=$1 release=$2 recipe image=kerek-host:$2-$1 log
    recipe=$(cat vagrant/Dockerfile vagrant/boot-host.sh | sha256sum | cut --characters -64)
    ! is_recent || return 0

    # One at a time: tests of several processes may want the same.
    mkdir -p "$cache"
    exec 9>"$cache/hosts.lock"
    flock 9
    if ! is_recent; then
        ensure_base "$release"
        say "making the image $image"
        log=$(mktemp)
        docker build --tag "$image" --target "$kind" --build-arg "RELEASE=$release" \
            --label "kerek.host.recipe=$recipe" vagrant &>"$log" </dev/null || {
            cat "$log" >&2
            rm "$log"
            die "cannot make the image $image"
        }
        rm "$log"
    fi
    exec 9>&-
}

# For the variables of `ensure_image`.
is_recent() {
    [[ $(docker image inspect --format '{{index .Config.Labels "kerek.host.recipe"}}' "$image" 2>/dev/null) == "$recipe" ]]
}

ensure_base() {
    local release=$1 image=kerek-base:$1 work made options=()
    ! docker image inspect "$image" &>/dev/null || return 0
    command -v mmdebstrap >/dev/null || apt_install mmdebstrap
    say "making the image $image of the distribution's packages"
    work=$(mktemp -d)
    case $release in
        noble)
            fetch_keys_of_ubuntu "$work"
            options=(--keyring="$work/keyring/usr/share/keyrings/ubuntu-archive-keyring.gpg")
            ;;
    esac
    # It gets its name once it is whole: what is cut off would be an image, too.
    made=$(sources "$release" | as_root mmdebstrap --quiet --variant=minbase --include=apt "${options[@]}" \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        "$release" - - | docker import -) || made=
    rm -rf "$work"
    [[ $made ]] || die "cannot make the image $image"
    docker tag "$made" "$image"
}

# Prints where the packages of a release come from.
sources() {
    local debian=http://deb.debian.org ubuntu=http://archive.ubuntu.com/ubuntu
    case $1 in
        noble)
            printf 'deb %s %s main universe\n' "$ubuntu" "$1" "$ubuntu" "$1-updates" \
                http://security.ubuntu.com/ubuntu "$1-security"
            ;;
        *)
            printf 'deb %s %s main\n' "$debian/debian" "$1" "$debian/debian" "$1-updates" \
                "$debian/debian-security" "$1-security"
            ;;
    esac
}

# Debian does not know by whom Ubuntu's packages are signed. The keys come from a package of Ubuntu's, which is known by its
# digest; it is put into folder $1.
fetch_keys_of_ubuntu() {
    local package=http://archive.ubuntu.com/ubuntu/pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb
    curl --fail --silent --show-error --output "$1/keyring.deb" "$package"
    sha256sum --check --quiet <<<"36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8  $1/keyring.deb"
    dpkg-deb --extract "$1/keyring.deb" "$1/keyring"
    # Those who have to read it are other users.
    chmod 755 "$1"
}

main "$@"
