# shellcheck shell=sh
# What docker.sh and podman.sh share. They read it from the folder they are in; put before one of them, it makes a single
# file with it, which is how `kerek provision` sends them.
#
# Each step of theirs ends with a line on stdout, and may have others before:
#
#   provision: doing STEP WORDS      it has begun
#   provision: waiting STEP WORDS    somebody else has to finish first
#   provision: said STEP WORDS       what a program has said that went wrong
#   provision: changed STEP WORDS    done
#   provision: ok STEP WORDS         there was nothing to do
#   provision: failed STEP WORDS     no further; running the script again goes on from there
: "${provision_lib:=yes}"

# How long others may keep the package manager, or another run of this one, busy.
patience_seconds=300

# Tells of a step; nobody needs to be listening (any more).
say() { printf 'provision: %s\n' "$*" 2>/dev/null || true; }

fail() {
    say "failed $*"
    exit 1
}

# To be called first: sees to it that this can run here, for user $1, alone, and to its end.
begin() {
    umask 022
    export LC_ALL=C DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin
    cd /
    exec </dev/null
    # Whoever is listening may go away.
    trap '' HUP PIPE

    [ "$(id -u)" = 0 ] || fail host "this needs root: run it with sudo"
    command -v apt-get >/dev/null || fail host "this needs Debian, Ubuntu or one of their kind"
    [ -d /run/systemd/system ] || fail host "this needs systemd"
    id -u "$1" >/dev/null 2>&1 || fail host "there is no user $1"

    exec 9>/run/kerek-provision.lock
    if ! flock --nonblock 9; then
        say "waiting host for another run on this host"
        flock --timeout "$patience_seconds" 9 || fail host "another run has been at it for $patience_seconds s"
    fi
    # What programs say goes into a file without a name: whatever ends this, nobody has to remove it.
    file=$(mktemp /run/kerek-provision.log.XXXXXX)
    exec 8>"$file"
    rm "$file"
    log=/proc/$$/fd/8
}

# Runs a program for step $1, and waits as long as another package manager is busy. Its output stays in a log.
patiently() {
    step=$1
    shift
    began=$(date +%s)
    waiting=
    # Programs shall not hold our lock.
    until "$@" >"$log" 2>&1 8>&- 9>&-; do
        if ! grep -Eq '(get|acquire|was|to) lock|lock(ed)? by another process' "$log" ||
            [ $(($(date +%s) - began)) -ge "$patience_seconds" ]; then
            return 1
        fi
        if [ ! "$waiting" ]; then
            waiting=yes
            say "waiting $step for another package manager, at most $patience_seconds s"
        fi
        sleep 1
    done
}

# Passes on the end of what the last program of `patiently` has said, and fails.
give_up() {
    tail -n 20 "$log" | while IFS= read -r line; do
        say "said $1 $line"
    done
    fail "$@"
}

apt_get() { patiently packages apt-get -q -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"; }

# What an interrupted installation has left half done.
step_dpkg() {
    began=$(date +%s)
    if is_half_done && is_locked; then
        # It may just be under way.
        say "waiting dpkg for another package manager, at most $patience_seconds s"
        while is_half_done && is_locked && [ $(($(date +%s) - began)) -lt "$patience_seconds" ]; do
            sleep 1
        done
    fi
    if ! is_half_done; then
        say "ok dpkg no installation was interrupted"
        return
    fi
    say "doing dpkg finishing an interrupted installation"
    # Either may need what the other one mends.
    patiently dpkg dpkg --force-confdef --force-confold --configure -a || true
    apt_get install --fix-broken --no-install-recommends || give_up dpkg "an interrupted installation cannot be finished"
    patiently dpkg dpkg --force-confdef --force-confold --configure -a ||
        give_up dpkg "an interrupted installation cannot be finished"
    say "changed dpkg finished an interrupted installation"
}

is_half_done() { [ "$(dpkg --audit 2>&1)" ] || ls /var/lib/dpkg/updates/[0-9]* >/dev/null 2>&1; }

# Whether a package manager is at work.
is_locked() {
    inode=$(stat -c %i /var/lib/dpkg/lock-frontend 2>/dev/null) && grep -q ":$inode " /proc/locks
}

is_installed() { [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Prints those packages that are not installed, in a line.
missing_packages() {
    missing=
    for package; do
        is_installed "$package" || missing="$missing${missing:+ }$package"
    done
    echo "$missing"
}

# Installs the packages $1, and those of $2 that the distribution has.
step_packages() {
    # shellcheck disable=SC2086  # each word is a package
    missing=$(missing_packages $1)
    if [ ! "$missing" ]; then
        say "ok packages $1"
        return
    fi
    say "doing packages fetching the lists of packages"
    # A source of the user's that does not answer need not matter.
    apt_get update || give_up_unless_known "$missing"
    for package in $2; do
        if ! is_installed "$package" && apt-cache show "$package" 2>/dev/null | grep -q '^Filename:'; then
            missing="$missing $package"
        fi
    done
    say "doing packages installing $missing"
    # shellcheck disable=SC2086
    apt_get install --no-install-recommends $missing || give_up packages "apt could not install $missing"
    say "changed packages $missing"
}

give_up_unless_known() {
    for package in $1; do
        apt-cache show "$package" 2>/dev/null | grep -q '^Filename:' ||
            give_up packages "apt could not fetch the lists of packages"
    done
}

# Runs something until it succeeds, for at most 30 s.
eventually() {
    tries=60
    until "$@" >"$log" 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.5
    done
}
