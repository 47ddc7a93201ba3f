#!/bin/sh
# Makes a Debian or Ubuntu host run containers with Podman, from the distribution's own packages, without root if the user
# is somebody else. What is there already stays; running it again changes nothing. Needs root. lib.sh tells what it prints.
#
# Usage: sh podman.sh [USER]     whose engine it is to be: by default of who has called sudo, else root's
set -eu

# shellcheck source=scripts/provision/lib.sh
[ "${provision_lib:-}" ] || . "$(dirname "$0")/lib.sh"

# The lowest port that a user's containers may publish.
first_port=80
ports_file=/etc/sysctl.d/99-kerek-provision.conf
shim=/usr/local/bin/docker

main() {
    user=${1:-${SUDO_USER:-root}}
    begin "$user"
    uid=$(id -u "$user")

    step_dpkg
    # shellcheck disable=SC2046  # each word is a package
    if [ "$uid" = 0 ]; then
        step_packages "podman aardvark-dns catatonit crun iptables netavark nftables" ""
        socket=/run/podman/podman.sock
    else
        step_packages "podman aardvark-dns catatonit crun dbus-user-session fuse-overlayfs iptables netavark nftables slirp4netns uidmap" passt
        socket=/run/user/$uid/podman/podman.sock
        step_ids
        step_ports
        step_linger
    fi
    step_socket
    step_command
    step_engine
}

# User IDs for what runs in the containers.
step_ids() {
    if grep -Eqs "^($user|$uid):" /etc/subuid && grep -Eqs "^($user|$uid):" /etc/subgid; then
        say "ok ids $user has subordinate user IDs"
        return
    fi
    grep -Eqs "^($user|$uid):" /etc/subuid || add_range /etc/subuid --add-subuids
    grep -Eqs "^($user|$uid):" /etc/subgid || add_range /etc/subgid --add-subgids
    say "changed ids $user has subordinate user IDs"
}

# Gives the user the first 65536 IDs that nobody has, in file $1 with option $2.
add_range() {
    first=$(awk -F : 'BEGIN { next_one = 100000 } $2 + $3 > next_one { next_one = $2 + $3 } END { print next_one }' "$1" 2>/dev/null ||
        echo 100000)
    usermod "$2" "$first-$((first + 65535))" "$user" >"$log" 2>&1 || give_up ids "$user gets no subordinate IDs"
}

step_ports() {
    now=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)
    if [ "$now" -le "$first_port" ] && is_port_kept; then
        say "ok ports from $now on"
        return
    fi
    cat >"$ports_file" <<EOT
# Containers of users without root may publish ports from here on.
net.ipv4.ip_unprivileged_port_start = $first_port
EOT
    sysctl --quiet --load "$ports_file" >"$log" 2>&1 || give_up ports "the kernel refuses $ports_file"
    say "changed ports from $first_port on"
}

# Whether the setting outlives a restart.
is_port_kept() {
    grep -Eqsr '^[[:space:]]*net[./]ipv4[./]ip_unprivileged_port_start' /etc/sysctl.conf /etc/sysctl.d /run/sysctl.d \
        /usr/local/lib/sysctl.d /usr/lib/sysctl.d
}

# The user's services run without anybody being logged in.
step_linger() {
    if [ -e "/var/lib/systemd/linger/$user" ]; then
        say "ok linger services of $user start at boot"
        return
    fi
    loginctl enable-linger "$user" >"$log" 2>&1 || give_up linger "services of $user cannot start at boot"
    say "changed linger services of $user start at boot"
}

step_socket() {
    if [ -S "$socket" ] && is_enabled podman.socket && is_restarting; then
        say "ok socket $socket"
        return
    fi
    if [ "$uid" != 0 ]; then
        systemctl start "user@$uid.service" >"$log" 2>&1 || give_up socket "services of $user do not start"
        eventually manage show-environment || give_up socket "services of $user do not start"
        manage daemon-reload >"$log" 2>&1 || give_up socket "services of $user do not start"
    fi
    manage enable --quiet podman.socket >"$log" 2>&1 || give_up socket "podman.socket cannot be enabled"
    if has_restart_unit; then
        # Podman itself starts no containers at boot.
        manage enable --quiet podman-restart.service >"$log" 2>&1 ||
            give_up socket "podman-restart.service cannot be enabled"
    fi
    # It may have been started while there was a folder or nothing where the socket is to be.
    manage start podman.socket >"$log" 2>&1 || give_up socket "podman.socket does not start"
    [ -S "$socket" ] || manage restart podman.socket >"$log" 2>&1 || give_up socket "podman.socket does not start"
    say "changed socket $socket"
}

# `systemctl` for the services of the user.
manage() {
    if [ "$uid" = 0 ]; then
        systemctl "$@"
    else
        runuser --user "$user" -- env "XDG_RUNTIME_DIR=/run/user/$uid" systemctl --user "$@"
    fi
}

# Whether unit $1 starts at boot; the user's need not be running to tell.
is_enabled() {
    for folder in $(unit_folders); do
        [ ! -L "$folder/sockets.target.wants/$1" ] && [ ! -L "$folder/default.target.wants/$1" ] &&
            [ ! -L "$folder/multi-user.target.wants/$1" ] || return 0
    done
    return 1
}

unit_folders() {
    if [ "$uid" = 0 ]; then
        echo /etc/systemd/system
    else
        echo "$(getent passwd "$user" | cut -d : -f 6)/.config/systemd/user /etc/systemd/user"
    fi
}

is_restarting() { ! has_restart_unit || is_enabled podman-restart.service; }

has_restart_unit() {
    kind=system
    [ "$uid" = 0 ] || kind=user
    [ -e "/usr/lib/systemd/$kind/podman-restart.service" ] || [ -e "/lib/systemd/$kind/podman-restart.service" ]
}

# What `docker --host ssh://…` calls at this end.
step_command() {
    if command -v docker >/dev/null; then
        say "ok command docker is $(command -v docker)"
        return
    fi
    mkdir -p "$(dirname "$shim")"
    cat >"$shim.new" <<'EOT'
#!/bin/sh
# Podman, called as Docker is: `docker --host ssh://…` elsewhere runs `docker system dial-stdio` here.
if [ "$(id -u)" = 0 ]; then
    url=unix:///run/podman/podman.sock
else
    url=unix://${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/podman/podman.sock
fi
case ${1:-} in
    --host | -H)
        url=$2
        shift 2
        ;;
    --host=*)
        url=${1#--host=}
        shift
        ;;
esac
[ "$*" != "system dial-stdio" ] || exec podman --url "$url" system dial-stdio
exec podman "$@"
EOT
    chmod 755 "$shim.new"
    mv "$shim.new" "$shim"
    say "changed command $shim leads to Podman"
}

step_engine() {
    eventually ask || give_up engine "Podman does not answer"
    say "ok engine Podman $(cat "$log")"
}

ask() {
    if [ "$uid" = 0 ]; then
        podman --url "unix://$socket" version --format '{{.Server.Version}}'
    else
        runuser --user "$user" -- podman --url "unix://$socket" version --format '{{.Server.Version}}'
    fi
}

main "$@"
