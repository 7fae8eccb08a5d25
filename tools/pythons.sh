#!/usr/bin/env bash
# Runs some actions of the fuzzer with the oldest and the newest Python that Kedge supports, and with the newest the
# agent's tests, some of which are of pandas 3, which the oldest cannot have. The interpreters come from Go's module
# proxy, where kluctl/go-embed-python carries them; they, and an environment for each with the versions of
# requirements.txt that it can have, are kept in .cache/pythons.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
builds=(3.10.16-20241219-1 3.14.6-20260610-1)
actions="${ACTIONS:-200}"

case "$(uname -sm)" in
"Linux x86_64") platform=linux-amd64 ;;
"Linux aarch64") platform=linux-arm64 ;;
*) echo "pythons: there are builds for Linux on x86_64 and aarch64 only" >&2; exit 1 ;;
esac

# fetch BUILD FOLDER unpacks an interpreter, whose large files are compressed there.
fetch() {
    local module
    module="$(cd "$root" && go mod download -json "github.com/kluctl/go-embed-python@v0.0.0-$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')"
    rm -rf "$2.new"
    cp -r "$module/python/internal/data/$platform" "$2.new"
    chmod -R u+w "$2.new"
    find "$2.new" -name '*.gz' -path '*/lib/*' -exec gunzip -f {} +
    gunzip -f "$2.new"/bin/*.gz
    chmod +x "$2.new"/bin/*
    mv "$2.new" "$2"
}

for build in "${builds[@]}"; do
    version="${build%.*-*-*}"
    home="$root/.cache/pythons/$build"
    mkdir -p "$(dirname "$home")"
    [[ -d "$home" ]] || fetch "$build" "$home"
    if [[ ! -f "$home/env/.complete" ]]; then
        "$home/bin/python$version" -m venv --clear --without-pip "$home/env"
        "$root/.venv/bin/python" -m pip --python "$home/env/bin/python" install --quiet --disable-pip-version-check \
            --only-binary :all: --require-hashes -r "$root/requirements.txt"
        touch "$home/env/.complete"
    fi
    echo "pythons: $("$home/env/bin/python" --version)" >&2
    if [[ "$version" != 3.10 ]]; then
        (cd "$root" && "$home/env/bin/python" -m pytest -q -p no:cacheprovider kernel/agent/python/tests)
    fi
    "$root/bin/fuzz" -seed 1 -actions "$actions" -workers 2 -python "$home/env/bin/python"
done
