#!/bin/sh
# Makes a Debian or Ubuntu host run containers with Docker, from the distribution's own packages. What is there already
# stays; running it again changes nothing. Needs root. lib.sh tells what it prints.
#
# Usage: sh docker.sh [USER]     who is to use Docker: by default who has called sudo, else root
set -eu

# shellcheck source=scripts/provision/lib.sh
[ "${provision_lib:-}" ] || . "$(dirname "$0")/lib.sh"

main() {
    user=${1:-${SUDO_USER:-root}}
    begin "$user"
    settings=$(readlink -f /etc/docker/daemon.json || echo /etc/docker/daemon.json)

    if is_foreign; then
        say "ok packages Docker is here from elsewhere, and is left as it is"
    else
        step_dpkg
        # Before Docker is installed, as that starts it.
        step_settings
        # shellcheck disable=SC2046  # each word is a package
        step_packages "docker.io iptables$(apparmor)$(client)" docker-cli
        step_service
    fi
    step_group
    step_engine
}

# Whether there is a Docker that is not the distribution's.
is_foreign() {
    program=$(command -v dockerd) || return 1
    ! dpkg-query --search "$(readlink -f "$program")" 2>/dev/null | grep -q '^docker\.io:'
}

# Where the kernel has AppArmor switched on, Docker needs its tools.
apparmor() {
    if grep -qs Y /sys/module/apparmor/parameters/enabled && ! command -v apparmor_parser >/dev/null; then
        echo ' apparmor'
    fi
}

# Docker's client may be a package of its own, which an interrupted installation has left out.
client() {
    if is_installed docker.io && ! command -v docker >/dev/null; then
        echo ' docker-cli'
    fi
}

# Logs are rotated, and containers run on while the engine restarts, unless the settings say otherwise.
step_settings() {
    keys=
    if [ -s "$settings" ]; then
        keys=$(json_keys <"$settings") || fail settings "$settings is no JSON object; please mend it"
    fi
    new=
    # A node of a swarm refuses that.
    if ! has_key live-restore && [ ! -e /var/lib/docker/swarm/docker-state.json ]; then
        new='"live-restore": true'
    fi
    if ! has_key log-driver && ! has_key log-opts; then
        new="$new${new:+,$newline  }\"log-opts\": {\"max-file\": \"3\", \"max-size\": \"10m\"}"
    fi
    if [ ! "$new" ]; then
        say "ok settings $settings"
        return
    fi

    mkdir -p "$(dirname "$settings")"
    if [ -s "$settings" ]; then
        # For owner and mode.
        cp -p "$settings" "$settings.new"
        add_to_json "$new" <"$settings" >"$settings.new"
    else
        printf '{\n  %s\n}\n' "$new" >"$settings.new"
    fi
    # Since Docker 23.
    if dockerd --help 2>/dev/null | grep -q -- --validate &&
        ! dockerd --validate --config-file "$settings.new" >"$log" 2>&1; then
        rm "$settings.new"
        give_up settings "Docker does not take the settings in $settings with those that were to be added"
    fi
    mv "$settings.new" "$settings"
    say "changed settings $settings"
}

newline='
'

has_key() {
    case $newline$keys$newline in
        *"$newline$1$newline"*) ;;
        *) return 1 ;;
    esac
}

# Prints the keys of the JSON object on stdin, one a line. Fails if it is no object, as far as can be told by its brackets.
json_keys() {
    awk '
        { text = text $0 "\n" }
        END {
            for (at = 1; at <= length(text); at++) {
                c = substr(text, at, 1)
                if (quoted) {
                    if (c == "\\") at++
                    else if (c == "\"") quoted = 0
                    else word = word c
                } else if (c == "\"") {
                    quoted = 1
                    word = ""
                } else if (c == "{" || c == "[") {
                    if (depth++ == 0 && (c != "{" || ended)) exit 1
                } else if (c == "}" || c == "]") {
                    if (--depth == 0) ended = 1
                    if (depth < 0) exit 1
                } else if (c == ":" && depth == 1) {
                    print word
                } else if (depth == 0 && c !~ /[ \t\r\n]/) {
                    exit 1
                }
            }
            exit quoted || depth || !ended
        }'
}

# Puts $1 into the JSON object on stdin, before all else there.
add_to_json() {
    NEW=$1 awk '
        { text = text $0 "\n" }
        END {
            at = index(text, "{")
            rest = substr(text, at + 1)
            printf "{\n  %s%s%s", ENVIRON["NEW"], (rest ~ /^[ \t\r\n]*}/) ? "\n" : ",", rest
        }'
}

# Docker runs, also after a restart of the host, and does what its settings say.
step_service() {
    if systemctl is-enabled --quiet docker.service && systemctl is-active --quiet docker.service && ! is_outdated; then
        say "ok service docker.service runs, and starts at boot"
        return
    fi
    say "doing service starting Docker"
    systemctl enable --quiet docker.service >"$log" 2>&1 || give_up service "docker.service cannot be enabled"
    if is_outdated; then
        # It lets containers run on from now on, and so also when it is restarted.
        systemctl reload docker.service && sleep 1 && systemctl restart docker.service
    else
        systemctl start docker.service
    fi >"$log" 2>&1 || {
        journalctl --no-pager --quiet --unit docker.service --lines 15 --output cat >>"$log" 2>&1 || true
        give_up service "Docker does not start"
    }
    say "changed service docker.service runs, and starts at boot"
}

# Whether Docker has been running since before its settings were made.
is_outdated() {
    grep -Eqs '"live-restore"[[:space:]]*:[[:space:]]*true' "$settings" &&
        [ "$(docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null)" = false ]
}

# The user may talk to Docker: as powerful as root.
step_group() {
    if [ "$user" = root ] || [ "$(id -u "$user")" = 0 ]; then
        say "ok group root needs none"
    elif id -nG "$user" | tr ' ' '\n' | grep -qx docker; then
        say "ok group $user is in the group docker"
    else
        getent group docker >/dev/null || groupadd --system docker
        usermod --append --groups docker "$user" >"$log" 2>&1 || give_up group "$user cannot join the group docker"
        say "changed group $user is in the group docker"
    fi
}

step_engine() {
    eventually docker version --format '{{.Server.Version}}' || give_up engine "Docker does not answer"
    say "ok engine Docker $(cat "$log")"
}

main "$@"
