#!/bin/sh
# Makes a Debian or Ubuntu host run containers with Docker, from the distribution's own packages. What is there already
# stays; running it again changes nothing. Needs root. lib.sh tells what it prints.
#
# Usage: sh docker.sh [USER]     who is to use Docker: by default who has called sudo, else root
set -eu

# shellcheck source=scripts/provision/lib.sh
[ "${provision_lib:-}" ] || . "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/provision/look.sh
[ "${provision_look:-}" ] || . "$(dirname "$0")/look.sh"

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
    step_command
    step_group
    step_engine
}

# Whether there is a Docker that is not the distribution's.
is_foreign() {
    if ! program=$(command -v dockerd); then
        listens
        return
    fi
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
    if is_installed docker.io && ! has_client; then
        echo ' docker-cli'
    fi
}

has_client() { if is_shim; then [ -e /usr/bin/docker ]; else command -v docker >/dev/null; fi; }

# Logs are rotated, and containers run on while the engine restarts, unless the settings say otherwise.
step_settings() {
    keys=
    if [ -s "$settings" ]; then
        keys=$(json_keys <"$settings") || fail settings "$settings is no JSON object; please mend it"
    fi
    # Docker does not start with what is both a flag and in its file.
    keys=$keys$newline$(given)
    if has_key config-file; then
        say "ok settings Docker reads them from another file than $settings"
        return
    fi
    new=
    if ! has_key live-restore && ! is_swarm; then
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
    if ! validate "$settings.new" >"$log" 2>&1; then
        rm "$settings.new"
        give_up settings "Docker does not take the settings in $settings with those that were to be added"
    fi
    if [ -e "$settings" ]; then
        # The old one can be read there as long as this runs.
        exec 7<"$settings"
        before=/proc/$$/fd/7
    fi
    written_under=$(main_pid)
    mv "$settings.new" "$settings"
    say "changed settings $settings"
}

# Asks this host's Docker, whatever root's own settings say. Prints nothing if that does not answer.
ask() { /usr/bin/docker --host unix:///run/docker.sock info --format "{{if .ServerVersion}}$1{{end}}" 2>/dev/null; }

# Whether this is a node of a swarm, which refuses to let containers run on.
is_swarm() {
    [ ! -e /var/lib/docker/swarm/docker-state.json ] || return 0
    case $(ask '{{.Swarm.LocalNodeState}}') in
        '' | inactive) return 1 ;;
    esac
}

# Whether Docker takes the settings in file $1, with its flags if it runs. Before Docker 23, nobody can tell.
validate() {
    dockerd --help 2>/dev/null | grep -q -- --validate || return 0
    if [ -r "/proc/$(main_pid)/cmdline" ]; then
        # shellcheck disable=SC2016  # meant for the inner shell
        xargs -0 -a "/proc/$(main_pid)/cmdline" sh -c 'exec "$@" --validate --config-file "$0"' "$1"
    else
        dockerd --validate --config-file "$1"
    fi
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

# Docker runs, also after a restart of the host, and heeds its settings, unless its containers would end for that.
step_service() {
    if systemctl is-enabled --quiet docker.service && is_active && ! is_outdated; then
        is_read || later="; its new settings count once somebody restarts it"
        say "ok service docker.service runs, and starts at boot${later:-}"
        return
    fi
    say "doing service starting Docker"
    systemctl enable --quiet docker.service >"$log" 2>&1 || give_up service "docker.service cannot be enabled"
    verb=start
    if is_outdated; then
        verb=restart
        lets_live || refuse "Docker does not let its containers run on as $settings says, and so was not restarted"
        lasting=yes
    fi
    systemctl "$verb" docker.service >"$log" 2>&1 || refuse "Docker does not start"
    say "changed service docker.service runs, and starts at boot"
}

# Whether Docker has been running since before its settings were made, and may be restarted.
is_outdated() {
    case $(ask '{{.LiveRestoreEnabled}}') in
        true) ! is_read ;;
        false)
            ! has_key config-file && ! is_swarm &&
                grep -Eqs '"live-restore"[[:space:]]*:[[:space:]]*true' "$settings"
            ;;
        *) return 1 ;;
    esac
}

# Whether Docker has started since something was written to its settings.
is_read() { [ "${written_under:-0}" = 0 ] || [ "$written_under" != "$(main_pid)" ]; }

# Has Docker let containers run on when it ends. That it was told so does not mean that it does.
lets_live() {
    validate "$settings" >"$log" 2>&1 || return 1
    systemctl reload docker.service >"$log" 2>&1 || true
    eventually is_lasting
}

is_lasting() { [ "$(ask '{{.LiveRestoreEnabled}}')" = true ]; }

# Fails for what Docker says, and first takes back what this run has written: without it, Docker did start.
refuse() {
    journalctl --no-pager --quiet --unit docker.service --lines 1000 --output cat 2>/dev/null |
        grep -v level=debug | tail -n 15 >>"$log" || true
    [ "${written_under:-}" ] || give_up service "$1"
    if [ "${lasting:-}" ] && ! is_active; then
        # What has run on so far would end if Docker now started without having been told of it.
        rewrite old_and_live
        start_again
    fi
    if [ "${before:-}" ]; then rewrite cat "$before"; else rm "$settings"; fi
    if is_active; then systemctl reload docker.service >/dev/null 2>&1 || true; else start_again; fi
    give_up service "$1; $settings is as it was before"
}

# Makes Docker's settings what the command $@ prints. Owner and mode stay.
rewrite() {
    cp -p "$settings" "$settings.new"
    "$@" >"$settings.new"
    mv "$settings.new" "$settings"
}

old_and_live() {
    if [ -s "${before:-/dev/null}" ]; then
        add_to_json '"live-restore": true' <"$before"
    else
        echo '{"live-restore": true}'
    fi
}

is_active() { systemctl is-active --quiet docker.service; }

start_again() { { systemctl reset-failed docker.service; systemctl start docker.service; } >/dev/null 2>&1 || true; }

# `docker` is Docker's.
step_command() {
    if ! is_shim; then
        say "ok command $shim does not lead to Podman"
        return
    fi
    rm "$shim"
    say "changed command $shim, which led to Podman, is gone"
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
    eventually docker --host unix:///var/run/docker.sock version --format '{{.Server.Version}}' ||
        give_up engine "Docker does not answer"
    say "ok engine Docker $(cat "$log")"
}

main "$@"
