"""Limits the scans of a JPEG: each runs over the whole picture, so that thousands of empty ones, of twelve bytes each,
take minutes (7 ms each of 4288x2848). Standard library only.
"""

from __future__ import annotations

import re
import struct

from dr_edge.fundus.header_types import PhotographError

MAX_SCANS = 100  # libtiff takes no more either; encoders write ten, the most frugal ones some thirty
# A marker inside entropy-coded data: FF, then neither a stuffed 00, a restart D0-D7, nor a fill FF.
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
# Markers that stand alone. libjpeg passes over them; whoever takes the next two bytes for a length skips the real
# picture.
WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE, _START_OF_SCAN, _END = 0xC2, 0xDA, 0xD9


def check_scans(data: bytes) -> None:
    """Raises PhotographError where a JPEG has more than MAX_SCANS scans; of other damage says nothing."""
    at, scans, components, progressive = 2, 0, 0, False
    while at + 10 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:  # libjpeg looks for the next marker
            at += 1
            continue
        if marker == _END:
            return
        if marker in WITHOUT_LENGTH:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in START_OF_FRAME:
            progressive, components = marker == _PROGRESSIVE, data[at + 9]
        if marker == _START_OF_SCAN:
            if not progressive and data[at + 4] >= components:  # the only one
                return
            scans += 1
            if scans > MAX_SCANS:
                raise PhotographError(
                    "too many scans", f"the JPEG has more than {MAX_SCANS} scans, which would take long. Save it anew."
                )
            found = NEXT_MARKER.search(data, at + 2 + length)
            at = found.start() if found else len(data)
        else:
            at += 2 + max(length, 2)
