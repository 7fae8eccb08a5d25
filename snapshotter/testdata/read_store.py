"""An independent reader of a Kedge store, written from FORMAT.md alone.

It uses the standard library only. BLAKE3 is here too: slow, but from its own
paper, so that nothing of Kedge is needed to check what Kedge wrote.

    read_store.py DIR            compares journal and catalog, and checks every blob
    read_store.py DIR DIGEST     writes a blob to stdout

Compressed extents need Python 3.14 (``compression.zstd``) or the system's
libzstd.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import sqlite3
import struct
import sys
import uuid
import zlib
from pathlib import Path

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
MIXES = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
MASK = 0xFFFFFFFF


def compress(chaining: tuple[int, ...], block: bytes, counter: int, flags: int) -> list[int]:
    """The 8 words of BLAKE3's compression function."""
    words = list(struct.unpack("<16I", block.ljust(64, b"\0")))
    v = [*chaining, *IV[:4], counter & MASK, counter >> 32, len(block), flags]
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(MIXES):
            for word, (first, second) in ((words[2 * i], (16, 12)), (words[2 * i + 1], (8, 7))):
                v[a] = (v[a] + v[b] + word) & MASK
                x = v[d] ^ v[a]
                v[d] = (x >> first | x << (32 - first)) & MASK
                v[c] = (v[c] + v[d]) & MASK
                x = v[b] ^ v[c]
                v[b] = (x >> second | x << (32 - second)) & MASK
        words = [words[i] for i in ORDER]
    return [v[i] ^ v[i + 8] for i in range(8)]


def subtree(data: bytes, first: int, root: int) -> list[int]:
    """The chaining value of the chunks of data, the first of which has that number."""
    if len(data) > 1024:
        left = 1024
        while left * 2 < len(data):
            left *= 2
        pair = subtree(data[:left], first, 0) + subtree(data[left:], first + left // 1024, 0)
        return compress(IV, struct.pack("<16I", *pair), 0, PARENT | root)
    value: list[int] = list(IV)
    blocks = [data[i : i + 64] for i in range(0, len(data), 64)] or [b""]
    for i, block in enumerate(blocks):
        flags = CHUNK_START if i == 0 else 0
        if i == len(blocks) - 1:
            flags |= CHUNK_END | root
        value = compress(tuple(value), block, first, flags)
    return value


def blake3(data: bytes) -> bytes:
    """BLAKE3-256 of data."""
    return struct.pack("<8I", *subtree(data, 0, ROOT))


def unzstd(data: bytes, size: int) -> bytes:
    """The content of one zstd frame, size bytes."""
    try:
        from compression import zstd
    except ImportError:
        lib = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
        lib.ZSTD_decompress.restype = ctypes.c_size_t
        lib.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
        out = ctypes.create_string_buffer(size)
        if lib.ZSTD_decompress(out, size, data, len(data)) != size:
            raise ValueError("no zstd frame of that size") from None
        return out.raw
    return zstd.decompress(data)


def apart(digests: bytes) -> list[bytes]:
    """The digests of a list."""
    return [digests[i : i + 32] for i in range(0, len(digests), 32)]


class Store:
    """A store on the disk, opened to read."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        version = int((self.folder / "VERSION").read_text())
        if version != 3:
            raise ValueError(f"format {version} is not 3")
        self.checked: dict[bytes, bytes] = {}
        self.db = sqlite3.connect(f"file:{self.folder}/catalog.db?mode=ro", uri=True)

    def segment(self, name: str) -> bytes:
        """The bytes of a segment."""
        return (self.folder / "segments" / f"{name}.seg").read_bytes()

    def extent(self, digest: bytes) -> bytes:
        """The bytes of an extent, checked."""
        name, offset, length, stored, codec = self.db.execute(
            "SELECT s.name, e.offset, e.length, e.stored, e.codec FROM extent e JOIN segment s ON s.id = e.segment WHERE e.id = ?",
            (digest,),
        ).fetchone()
        segment = self.segment(name)
        data = segment[offset : offset + stored]
        if offset % 4096:  # packed: a header precedes it
            magic = (b"KEDGEREC", b"KEDGEZST")[codec]
            if segment[offset - 48 : offset] != magic + digest + struct.pack("<Q", stored):
                raise ValueError(f"header of extent {digest.hex()}")
        if codec == 1:
            data = unzstd(data, length)
        if len(data) != length or blake3(data) != digest:
            raise ValueError(f"extent {digest.hex()}")
        return data

    def runs(self, digest: bytes) -> list[bytes]:
        """The extents of a blob whose list is cut in runs, each checked."""
        extents = b""
        row = self.db.execute("SELECT runs FROM blob_run WHERE blob = ?", (digest,)).fetchone()
        for name in apart(row[0]) if row else []:
            (part,) = self.db.execute("SELECT extents FROM run WHERE id = ?", (name,)).fetchone()
            if blake3(part) != name:
                raise ValueError(f"run {name.hex()}")
            extents += part
        return apart(extents)

    def blob(self, digest: bytes) -> bytes:
        """The content of a blob, checked."""
        if digest in self.checked:
            return self.checked[digest]
        (size,) = self.db.execute("SELECT size FROM blob WHERE id = ?", (digest,)).fetchone()
        rows = self.db.execute("SELECT extent FROM part WHERE blob = ? ORDER BY seq", (digest,))
        extents = [row[0] for row in rows] or self.runs(digest)
        data = b"".join(self.extent(e) for e in extents)
        if len(data) != size or (extents != [digest] and blake3(data) != digest):
            raise ValueError(f"blob {digest.hex()}")
        self.checked[digest] = data
        return data

    def journal(self, name: str) -> list[dict[str, list]]:
        """The valid entries of a segment's journal."""
        segment, entries, at = self.segment(name), [], 0
        while (at := segment.find(b"KEDGEIDX", at)) >= 0:
            owner, digest = segment[at + 8 : at + 24], segment[at + 24 : at + 56]
            (length,) = struct.unpack("<Q", segment[at + 56 : at + 64])
            body = segment[at + 64 : at + 64 + length]
            parts = (b"journal", name.encode(), str(at).encode(), body)
            sealed = blake3(b"".join(struct.pack("<Q", len(p)) + p for p in parts))
            if owner == uuid.UUID(name).bytes and digest == sealed:
                entries.append(json.loads(zlib.decompress(body)))
            at += 8
        return entries


def check(store: Store) -> dict[str, int]:
    """Reads everything; what the journals say is all that the catalog knows."""
    said: dict[str, set[str]] = {"extent": set(), "run": set(), "blob": set(), "trace": set(), "snapshot": set()}
    for path in (store.folder / "segments").iterdir():
        for entry in store.journal(path.stem):
            said["extent"] |= {e["id"] for e in entry.get("extents", [])}
            for run in entry.get("runs", []):
                if blake3(bytes.fromhex("".join(run["extents"]))).hex() != run["id"]:
                    raise ValueError(f"run {run['id']} of a journal")
                said["run"].add(run["id"])
            said["blob"] |= {b["id"] for b in entry.get("blobs", [])}
            said["trace"] |= {blake3(t["body"].encode()).hex() for t in entry.get("traces", [])}
            said["snapshot"] |= {blake3(s["body"].encode()).hex() for s in entry.get("snapshots", [])}
    counts = {}
    for table, ids in said.items():
        known = {i if isinstance(i, str) else i.hex() for (i,) in store.db.execute(f"SELECT id FROM {table}")}
        if known - ids:
            raise ValueError(f"{table} rows that no journal has: {sorted(known - ids)}")
        counts[table] = len(known)
    for (digest,) in store.db.execute("SELECT id FROM blob").fetchall():
        store.blob(digest)
    for body, kept in store.db.execute("SELECT body, kept FROM trace").fetchall():
        effect = json.loads(body)["effect"]
        store.blob(bytes.fromhex(effect["outputs"]))
        for group in effect.get("groups", []) if kept else []:
            manifest = json.loads(store.blob(bytes.fromhex(group["payload"])))
            for digest in [manifest["stream"], *(b["blob"] for b in manifest["buffers"] or [])]:
                store.blob(bytes.fromhex(digest))
    return counts


if __name__ == "__main__":
    opened = Store(sys.argv[1])
    if len(sys.argv) > 2:
        sys.stdout.buffer.write(opened.blob(bytes.fromhex(sys.argv[2])))
    else:
        print(json.dumps(check(opened)))
