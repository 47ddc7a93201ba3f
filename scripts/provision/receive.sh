#!/bin/sh
# Runs a script that comes on stdin as root, once it is there whole, and leaves nothing of it. The script goes on to its
# end if nobody listens any more.
#
# Usage: sh receive.sh DIGEST RIGHTS <SCRIPT
#
# DIGEST is the script's SHA-256, RIGHTS how to become root: `root` (we are), `sudo` (which asks nothing) or `password`
# (what sudo asks for is the first line of stdin, before the script). The script gets the user's name as its argument.
set -u

main() {
    digest=$1
    rights=$2
    umask 077
    trap '' HUP PIPE

    password=
    if [ "$rights" = password ]; then
        IFS= read -r password
    fi
    if ! make_folder; then
        fail upload "there is no folder with room for a script of 64 kB"
    fi
    trap 'rm -rf "$folder"' EXIT
    cat >"$folder/script"
    exec </dev/null
    if [ "$(sha256sum "$folder/script" | cut -d ' ' -f 1)" != "$digest" ]; then
        fail upload "the script did not arrive as it was sent"
    fi
    if [ "$rights" = password ] && ! become_root true 2>"$folder/log"; then
        fail sudo "$(tr '\n' ' ' <"$folder/log")"
    fi
    # It need not be possible to run programs in that folder.
    become_root sh "$folder/script" "$(id -un)"
}

fail() {
    printf 'provision: failed %s\n' "$*"
    exit 1
}

# Makes a folder for the user alone, where there is room.
make_folder() {
    for parent in "${TMPDIR:-/tmp}" /var/tmp /dev/shm "$HOME"; do
        # What was left when this was killed.
        find "$parent" -maxdepth 1 -name 'kerek-provision.*' -user "$(id -u)" -mmin +60 -exec rm -rf {} + 2>/dev/null
        folder=$(mktemp -d "$parent/kerek-provision.XXXXXX" 2>/dev/null) || continue
        if dd if=/dev/zero of="$folder/script" bs=64k count=1 2>/dev/null; then
            return
        fi
        rm -rf "$folder"
    done
    return 1
}

become_root() {
    case $rights in
        root) "$@" ;;
        sudo) sudo -n "$@" ;;
        # Not in an argument, which others can see.
        *) printf '%s\n' "$password" | sudo -k -S -p '' "$@" ;;
    esac
}

main "$@"
