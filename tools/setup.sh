#!/usr/bin/env bash
# Makes .venv from the hash-locked requirements.txt. A second run with the same
# lock does nothing and needs no network. KEDGE_PYTHON names the interpreter to
# use; without it the newest working python3 (3.10 or later) on PATH is taken.
#
# With --browser it also sees to a Chromium for the tests of JupyterLab: where
# root can install packages by apt it installs one, else it says what is missing.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"

usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

find_python() {
    local name
    if [[ -n "${KEDGE_PYTHON:-}" ]]; then
        if usable "$KEDGE_PYTHON"; then echo "$KEDGE_PYTHON"; return; fi
        echo "setup: KEDGE_PYTHON=$KEDGE_PYTHON is not a Python 3.10 or later with venv" >&2
        return 1
    fi
    for name in python3.14 python3.13 python3.12 python3.11 python3.10 python3; do
        if usable "$name"; then echo "$name"; return; fi
    done
    echo "setup: no Python 3.10 or later with venv on PATH; install one or set KEDGE_PYTHON" >&2
    return 1
}

browser() {
    local name
    if [[ -n "${KEDGE_TEST_CHROMIUM:-}" ]]; then return; fi
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null; then return; fi
    done
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        echo "setup: no Chromium, so JupyterLab will not be tested: install the package chromium, or name one in KEDGE_TEST_CHROMIUM" >&2
        return
    fi
    echo "setup: installing Debian's chromium" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
}

if [[ "${1:-}" == --browser ]]; then browser; fi

lock="$(sha256sum "$root/requirements.txt" | cut -d' ' -f1)"
stamp="$venv/.kedge-lock-${lock:0:16}"
if [[ -x "$venv/bin/python" && -f "$stamp" ]] &&
    "$venv/bin/python" -c '' 2>/dev/null; then
    exit 0
fi

python="$(find_python)"
echo "setup: making $venv with $("$python" --version) ($(command -v "$python"))" >&2
"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --require-hashes -r "$root/requirements.txt"
# The stamp is last: an install that was cut short is done again.
touch "$stamp"
