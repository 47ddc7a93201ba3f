#!/usr/bin/env bash
# Makes the pictures in docs/pictures: deploys examples/zero_downtime_deployment in terminals of tmux, a good version and a
# bad one, and keeps what is to be seen there, as SVG. For whoever writes documentation; nothing else needs it.
#
# Usage: scripts/pictures.sh [FOLDER]     docs/pictures by default
#
# COLUMNS sets the width of the terminals, 90 by default.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

readonly name=kerek-pictures
readonly columns=${COLUMNS:-90}
export PORT=8089

main() {
    local folder=${1:-docs/pictures} environment
    environment=$(scripts/setup.sh)
    eval "$environment"
    command -v tmux >/dev/null || apt_install tmux
    # Debian's own Python has Debian's packages.
    /usr/bin/python3 -c 'import rich' 2>/dev/null || apt_install python3-rich
    cargo build --locked --bin kerek
    mkdir -p "$folder"

    work=$(mktemp -d)
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    cp -r examples/zero_downtime_deployment "$work/shop"
    ln -s "$PWD/target/debug/kerek" "$work/kerek"

    run 'kerek deploy --progress quiet'
    finished
    run 'export GREET_VERSION=B'
    run 'clear; kerek deploy --dry-run'
    finished
    keep "$folder/dry-run.svg" 'kerek deploy --dry-run'
    run "clear; kerek deploy --probe http://localhost:$PORT/"
    appears 'draining'
    keep "$folder/live.svg" 'kerek deploy --probe …, under way'
    finished
    keep "$folder/end.svg" 'kerek deploy --probe …'
    sed -i 's|exec httpd|echo "no such table: greetings" >\&2; exit 1; exec httpd|' "$work/shop/compose.yaml"
    run 'clear; kerek deploy'
    finished
    keep "$folder/bad-version.svg" 'kerek deploy, with a version that is bad'
}

# Types a line in the terminal. When the command is done, a mark says so.
run() {
    if ! tmux -L "$name" has-session 2>/dev/null; then
        tmux -L "$name" new-session -d -x "$columns" -y 60 -c "$work/shop" \
            env PATH="$work:$PATH" COMPOSE_PROJECT_NAME=shop PORT="$PORT" PS1='$ ' bash --norc --noprofile
    fi
    rm -f "$work/done"
    tmux -L "$name" send-keys "$1; touch $work/done" Enter
    tmux -L "$name" clear-history
}

finished() {
    local _
    for _ in {1..600}; do
        [[ ! -e $work/done ]] || return 0
        sleep 0.1
    done
    screen >&2
    die "this takes too long"
}

# Waits for a word on the screen.
appears() {
    local _
    for _ in {1..600}; do
        if screen | grep --quiet -- "$1"; then
            return
        fi
        sleep 0.1
    done
    screen >&2
    die "no $1 is to be seen"
}

screen() { tmux -L "$name" capture-pane -e -p; }

# Writes what is on the screen, without the lines that were typed and empty ones at the end, to file $1 under title $2.
keep() {
    screen | sed '/; touch /d' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' |
        /usr/bin/python3 -c '
import io, re, sys
from rich.console import Console
from rich.text import Text

file, title, columns = sys.argv[1:]
text = sys.stdin.read().rstrip().removesuffix("$").rstrip()
console = Console(record=True, width=int(columns), file=io.StringIO(), color_system="truecolor")
console.print(Text.from_ansi(text), soft_wrap=True)
svg = console.export_svg(title=title)

# Some programs drop spaces at the beginning of a text: it begins further to the right instead.
def trim(match):
    before, x, between, length, after, spaces, rest = match.groups()
    moved = len(spaces) // len("&#160;") * 12.2
    return f"{before}{float(x) + moved:g}{between}{float(length) - moved:g}{after}{rest}"

svg = re.sub(r"(<text [^>]*?\bx=\")([\d.]+)(\"[^>]*?textLength=\")([\d.]+)(\"[^>]*>)((?:&#160;)+)([^<]+)", trim, svg)
with open(file, "w") as output:
    output.write(svg)
' "$1" "$2" "$columns"
    say "made $1"
}

clean_up() {
    local status=$?
    tmux -L "$name" kill-server 2>/dev/null || true
    docker compose --project-name shop --file "$work/shop/compose.yaml" down --volumes &>/dev/null || status=1
    docker volume ls --quiet --filter name=kerek_shop | xargs --no-run-if-empty docker volume rm >/dev/null || true
    rm -rf "$work"
    exit "$status"
}

main "$@"
