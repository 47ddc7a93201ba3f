#!/bin/sh
# Tells what `kerek provision` has to know of a host before it does anything, and changes nothing: a line for each fact,
# `kerek NAME VALUE`. What cannot be told is left out.
#
# Usage: sh probe.sh docker|podman
set -u

# shellcheck source=scripts/provision/look.sh
[ "${provision_look:-}" ] || . "$(dirname "$0")/look.sh"

main() {
    engine=$1
    LC_ALL=C
    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/snap/bin
    export LC_ALL PATH

    # Whatever a login shell has printed may lack the end of its line.
    echo
    user=$(id -un)
    uid=$(id -u)
    fact user "$user"
    fact uid "$uid"
    tell_system
    tell_rights
    tell_room
    tell_packages
    tell_ports
    tell_docker
    if [ "$engine" = podman ]; then
        tell_podman
    fi
    fact end
}

fact() { printf 'kerek %s\n' "$*"; }

as_root() {
    case $rights in
        root) "$@" ;;
        sudo) sudo -n "$@" ;;
        *) return 1 ;;
    esac
}

tell_system() {
    if [ -r /etc/os-release ]; then
        # In a shell of its own, for its variables.
        (
            # shellcheck source=/dev/null
            . /etc/os-release
            fact system "${ID:-}"
            fact kind "${ID_LIKE:-}"
            fact release "${VERSION_ID:-}"
            fact called "${PRETTY_NAME:-${NAME:-}}"
        )
    fi
    fact machine "$(uname -m)"
    if [ -d /run/systemd/system ]; then
        fact systemd
    fi
}

tell_rights() {
    rights=none
    if [ "$uid" = 0 ]; then
        rights=root
    elif command -v sudo >/dev/null; then
        # That somebody has typed the password at this terminal does not count where there is none.
        if words=$(sudo -k -n true 2>&1 </dev/null); then
            rights=sudo
        else
            case $words in
                *tty*) rights=terminal ;;
                *) rights=password ;;
            esac
        fi
    fi
    fact rights "$rights"
}

# For each folder that is written to: free kilobytes, and whether it is read-only.
tell_room() {
    for folder in /etc /usr /var/lib /var/cache; do
        df -Pk "$folder" 2>/dev/null | while read -r _ _ _ free _ mount; do
            case $free in
                *[!0-9]* | '') continue ;;
            esac
            options=$(awk -v mount="$mount" '$2 == mount { options = $4 } END { print options }' /proc/mounts)
            case ,$options, in
                *,ro,*) fact room "$folder" "$free" ro ;;
                *) fact room "$folder" "$free" rw ;;
            esac
        done
    done
}

tell_packages() {
    command -v dpkg-query >/dev/null || return 0
    for package in docker.io iptables podman aardvark-dns catatonit crun dbus-user-session fuse-overlayfs netavark \
        nftables slirp4netns uidmap; do
        if [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null)" = installed ]; then
            fact package "$package"
        fi
    done
    if grep -qs Y /sys/module/apparmor/parameters/enabled && ! command -v apparmor_parser >/dev/null; then
        fact wants apparmor
    fi
    if [ "$(dpkg --audit 2>&1)" ] || ls /var/lib/dpkg/updates/[0-9]* >/dev/null 2>&1; then
        fact broken
    fi
    for lock in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock; do
        inode=$(stat -c %i "$lock" 2>/dev/null) || continue
        if grep -q ":$inode " /proc/locks 2>/dev/null; then
            fact locked
            break
        fi
    done
}

# Those of a web server.
tell_ports() {
    for port in 80 443; do
        if awk -v port="$(printf ':%04X' "$port")" '
            $4 == "0A" && substr($2, length($2) - 4) == port { found = 1 }
            END { exit !found }' /proc/net/tcp /proc/net/tcp6 2>/dev/null; then
            fact taken "$port"
        fi
    done
}

tell_docker() {
    if program=$(command -v dockerd); then
        fact docker "$(dockerd --version 2>/dev/null | head -n 1)"
        owner=$(dpkg-query --search "$(readlink -f "$program")" 2>/dev/null | sed 's/:.*//')
        fact owner "${owner:-nobody}"
    elif listens; then
        fact docker
        fact owner nobody
    fi
    if [ "$engine" = docker ] && is_shim; then
        fact shim
        [ ! -e /usr/bin/docker ] || fact client /usr/bin/docker
    elif command -v docker >/dev/null; then
        fact client "$(command -v docker)"
    fi
    if [ -S /run/docker.sock ]; then
        fact socket
        if [ -w /run/docker.sock ]; then
            fact open
        fi
    fi
    if [ "$engine" != docker ]; then
        return
    fi
    for group in $(id -nG "$user"); do
        if [ "$group" = docker ]; then
            fact member
        fi
    done
    if systemctl is-enabled --quiet docker.service 2>/dev/null; then
        fact enabled
    fi
    if systemctl is-active --quiet docker.service 2>/dev/null; then
        fact active
        # The user may be allowed to ask it without being root.
        told=$(ask_docker env)
        told=${told:-$(ask_docker as_root)}
        case $told in
            'true '* | 'false '*) fact lives "${told%% *}" ;;
        esac
        case $told in
            '' | *' ' | *' inactive') ;;
            *) fact swarm ;;
        esac
    fi
    if as_root test -e /var/lib/docker/swarm/docker-state.json; then
        fact swarm
    fi
    for key in $(given); do
        fact given "$key"
    done
    if [ -s /etc/docker/daemon.json ]; then
        settings=$(cat /etc/docker/daemon.json 2>/dev/null || as_root cat /etc/docker/daemon.json)
        fact settings "$(printf '%s' "$settings" | base64 | tr -d '\n')"
    fi
}

# Asks this host's Docker, by program $1 and whatever the user's own settings say, whether containers run on without it,
# and for its swarm. Prints nothing if that does not answer.
ask_docker() {
    format='{{if .ServerVersion}}{{.LiveRestoreEnabled}} {{.Swarm.LocalNodeState}}{{end}}'
    "$1" /usr/bin/docker --host unix:///run/docker.sock info --format "$format" 2>/dev/null
}

tell_podman() {
    if command -v podman >/dev/null; then
        fact podman "$(podman --version 2>/dev/null | head -n 1)"
    fi
    if [ "$uid" = 0 ]; then
        socket=/run/podman/podman.sock
        units=/etc/systemd/system
        kind=system
    else
        socket=/run/user/$uid/podman/podman.sock
        units="$HOME/.config/systemd/user /etc/systemd/user"
        kind=user
    fi
    if [ -S "$socket" ] && is_wanted podman.socket &&
        { [ ! -e "/usr/lib/systemd/$kind/podman-restart.service" ] || is_wanted podman-restart.service; }; then
        fact listens
    fi
    if grep -Eqs "^($user|$uid):" /etc/subuid && grep -Eqs "^($user|$uid):" /etc/subgid; then
        fact ids
    fi
    if [ -e "/var/lib/systemd/linger/$user" ]; then
        fact lingers
    fi
    if [ "$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || echo 1024)" -le 80 ] &&
        grep -Eqsr '^[[:space:]]*net[./]ipv4[./]ip_unprivileged_port_start' /etc/sysctl.conf /etc/sysctl.d \
            /run/sysctl.d /usr/local/lib/sysctl.d /usr/lib/sysctl.d; then
        fact ports
    fi
}

is_wanted() {
    for folder in $units; do
        for target in sockets default multi-user; do
            [ ! -L "$folder/$target.target.wants/$1" ] || return 0
        done
    done
    return 1
}

main "$@"
