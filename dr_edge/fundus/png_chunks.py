"""A PNG without the chunks that unpack to something else than pixels. Standard library only."""

from __future__ import annotations

import struct

_PACKED = (b"zTXt", b"iTXt", b"iCCP")


def without_packed_texts(data: bytes) -> bytes:
    """Returns a PNG without compressed texts and colour profiles, which libpng unpacks and nobody looks at.

    One of 8 kB can take 35 ms, and a file may hold thousands.

    Args:
      data: a PNG whose chunks are whole, as `read_header` has found.
    """
    kept, start, at = [], 0, 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, end = data[at + 4 : at + 8], at + 12 + length
        if name in _PACKED:
            kept.append(data[start:at])
            start = end
        if name == b"IEND":
            break
        at = end
    return b"".join([*kept, data[start:]]) if kept else data
