#!/usr/bin/env bash
# Makes what a release consists of, in target/package: an archive with the program, its manual pages and completions, a
# Debian package of the same, and their checksums. The program is static if this machine can build it so (the Rust target
# for musl, and musl-gcc); otherwise it needs a libc that is not older than the one here.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

output=target/package

main() {
    local environment target program version contents archive
    if ! command -v cargo >/dev/null; then
        environment=$(scripts/setup.sh)
        eval "$environment"
    fi
    command -v cargo-deb >/dev/null || cargo install --locked cargo-deb

    target=$(choose_target)
    say "building for $target"
    cargo build --release --locked --bin kerek --target "$target"
    program=target/$target/release/kerek
    version=$("$program" --version | cut -d ' ' -f 2)

    rm -rf "$output"
    contents=$output/kerek-$version-$target
    mkdir -p "$contents/man" "$contents/completions"
    cp "$program" README.md CHANGELOG.md LICENSE "$contents"
    "$program" man-pages "$contents/man"
    "$program" completions bash >"$contents/completions/kerek.bash"
    "$program" completions fish >"$contents/completions/kerek.fish"
    "$program" completions zsh >"$contents/completions/_kerek"
    archive=$contents.tar.gz
    pack "$contents" >"$archive"

    # Where Cargo.toml says that the package's files are.
    ln -s "${contents##*/}" "$output/contents"
    ln -s ../../../bin/kerek "$output/docker-deploy"
    cargo deb --no-build --no-strip --target "$target" --output "$output/"
    rm -r "$output/contents" "$output/docker-deploy" "$contents"
    (cd "$output" && sha256sum -- * | tee SHA256SUMS)
}

choose_target() {
    local host static
    host=$(rustc --version --verbose | sed -n 's/^host: //p')
    static=${host/-gnu/-musl}
    if [[ -d $(rustc --print target-libdir --target "$static") ]] && command -v musl-gcc >/dev/null; then
        printf '%s\n' "$static"
    else
        say "no static program: that would take \`rustup target add $static\` and musl-gcc"
        printf '%s\n' "$host"
    fi
}

# The same bytes for the same files, whenever and by whomever they are packed.
pack() {
    local folder=$1
    tar --create --directory "${folder%/*}" --sort=name --owner=0 --group=0 --numeric-owner \
        --mtime="@$(git log -1 --format=%ct)" "${folder##*/}" | gzip --no-name --best
}

say() { printf 'package.sh: %s\n' "$*" >&2; }

main
