#!/bin/sh
# The first process of a throw-away host: makes it what its environment says, then becomes systemd.
#
#   HOST_AUTHORIZED_KEY   public key that `root` and `deploy` accept
#   HOST_KEY              private key (ed25519) of the host itself, in base64; default: a new one
#   HOST_SSHD             lines for the configuration of sshd, which take precedence
#   HOST_BANNER           what sshd tells before anybody is logged in
#   HOST_SHELL            login shell of `root` and `deploy`: bash (default), fish, tcsh, …
#   HOST_NOISE            what login shells print whenever they start, also when they run but one command
#   HOST_SUDO             what `deploy` may do as root: all (default), password (all, but is asked for it), none
#   HOST_DOCKER_GROUP     whether `deploy` may use Docker without sudo: yes (default), no
set -eu

main() {
    sshd_config=/etc/ssh/sshd_config.d/10-host.conf
    set_up_keys
    set_up_sshd
    set_up_shell
    set_up_sudo
    if [ "${HOST_DOCKER_GROUP:-yes}" = no ]; then
        gpasswd --delete deploy docker >/dev/null
    fi
    # As on a machine of its own: mounts are shared, and any user may make network devices for rootless containers.
    mount --make-rshared /
    [ ! -e /dev/net/tun ] || chmod 666 /dev/net/tun
    # systemd needs the second variable where cgroups are those of version 1.
    exec env --ignore-environment container=docker SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 /sbin/init
}

set_up_keys() {
    key=/etc/ssh/ssh_host_ed25519_key
    if [ "${HOST_KEY:-}" ]; then
        (umask 077 && echo "$HOST_KEY" | base64 --decode >$key)
    elif [ ! -e $key ]; then
        ssh-keygen -q -t ed25519 -N '' -f $key
    fi
    for user in root deploy; do
        home=$(getent passwd $user | cut -d : -f 6)
        install --directory --owner=$user --group=$user --mode=700 "$home/.ssh"
        echo "${HOST_AUTHORIZED_KEY:-}" >"$home/.ssh/authorized_keys"
    done
}

# Of what is set twice, sshd takes the first.
set_up_sshd() {
    {
        printf '%s\n' "${HOST_SSHD:-}"
        echo "HostKey $key"
        echo 'PasswordAuthentication no'
    } >$sshd_config
    if [ "${HOST_BANNER:-}" ]; then
        printf '%s\n' "$HOST_BANNER" >/etc/ssh/banner
        echo 'Banner /etc/ssh/banner' >>$sshd_config
    fi
}

set_up_shell() {
    shell=${HOST_SHELL:-bash}
    for user in root deploy; do
        usermod --shell "$(command -v "$shell")" $user
    done
    [ "${HOST_NOISE:-}" ] || return 0
    printf '%s\n' "$HOST_NOISE" >/etc/noise
    for user in root deploy; do
        home=$(getent passwd $user | cut -d : -f 6)
        mkdir -p "$home/.config/fish"
        # At its beginning: Debian's .bashrc goes no further unless there is a terminal.
        for file in .bashrc .tcshrc .config/fish/config.fish; do
            { echo 'cat /etc/noise'; cat "$home/$file" 2>/dev/null || true; } >"$home/rc"
            mv "$home/rc" "$home/$file"
        done
    done
    chown -R deploy:deploy /home/deploy/.bashrc /home/deploy/.tcshrc /home/deploy/.config
}

set_up_sudo() {
    case ${HOST_SUDO:-all} in
        all) rule='deploy ALL=(ALL:ALL) NOPASSWD: ALL' ;;
        password) rule='deploy ALL=(ALL:ALL) ALL' ;;
        none) rule='' ;;
        *) echo "HOST_SUDO: $HOST_SUDO" >&2 && exit 1 ;;
    esac
    echo "$rule" >/etc/sudoers.d/host
    chmod 440 /etc/sudoers.d/host
}

main
