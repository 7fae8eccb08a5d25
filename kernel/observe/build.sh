#!/bin/sh
# Builds the preloaded library into lib/, or into the folder given as $1.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
out=${1:-$here/lib}
mkdir -p "$out"
tmp=$(mktemp "$out/.libkedge_observe.XXXXXX")
trap 'rm -f "$tmp"' EXIT
"${CC:-gcc}" -std=gnu11 -O2 -fPIC -shared -Wall -Wextra -Wno-nonnull-compare -fvisibility=hidden -fno-delete-null-pointer-checks \
	-U_FORTIFY_SOURCE -o "$tmp" "$here"/preload/*.c -Wl,-z,initfirst,-z,defs -Wl,--as-needed -ldl -lpthread -lresolv -lrt
chmod 755 "$tmp"
mv -f "$tmp" "$out/libkedge_observe.so"
