# shellcheck shell=sh
# How to tell what a host has for Docker, by looking: what probe.sh and docker.sh share, so that what is announced is what is
# done. They read it from the folder they are in; put before one of them, it makes a single file with it, which is how
# `kerek provision` sends them.
: "${provision_look:=yes}"

# Where podman.sh writes its command where there is no Docker.
shim=/usr/local/bin/docker

# Whether `docker` leads to Podman.
is_shim() { grep -qs '^# Podman, called as Docker is:' "$shim"; }

# Whether somebody listens where Docker does. If its programs are not where others find them, that is a snap's.
listens() { grep -Eqs ' 00010000 .* (/var)?/run/docker\.sock$' /proc/net/unix; }

# Prints the keys of settings that are flags of the service, as it runs or would be started.
given() {
    {
        tr '\0' '\n' <"/proc/$(main_pid)/cmdline" || true
        systemctl show --property ExecStart --property Environment docker.service || true
        systemctl show --property EnvironmentFiles --value docker.service | sed 's/ (ignore_errors=.*//' |
            xargs -r -d '\n' cat || true
        # The service itself may not be there yet.
        cat /etc/default/docker /etc/systemd/system/docker.service.d/*.conf || true
    } 2>/dev/null | grep -v '^[[:space:]]*#' | tr -s "[:space:]\"'=" '\n' |
        sed -n -e 's/^--log-driver$/log-opts/p' -e 's/^--log-opt$/log-opts/p' -e 's/^--live-restore$/live-restore/p' \
            -e 's/^--config-file$/config-file/p' | sort -u
}

# Prints the number of Docker's process, or 0.
main_pid() { systemctl show --property MainPID --value docker.service 2>/dev/null || echo 0; }
