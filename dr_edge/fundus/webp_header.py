"""What a WebP says of itself before it is decoded. Standard library only."""

from __future__ import annotations

import struct

from dr_edge.fundus.exif import PREFIX, exif_orientation
from dr_edge.fundus.header_types import ImageHeader, PhotographError

_ANIMATED, _ALPHA = 0x02, 0x10


def parse_webp(data: bytes) -> ImageHeader:
    """Returns the header of a still WebP.

    Raises:
      PhotographError: cut off, damaged, or animated.
      struct.error, IndexError: the bytes end inside the header.
    """
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data):
        raise PhotographError("truncated", f"the WebP states {end} bytes, it has {len(data)}. Fetch it again.")
    canvas: tuple[int, int] | None = None
    picture: tuple[int, int] | None = None
    alpha, orientation, at = False, 1, 12
    while at + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, at)
        body = at + 8
        if body + length > end:
            raise PhotographError("truncated", "the WebP ends inside a chunk. Fetch it again.")
        if name == b"VP8X" and canvas is None:
            flags, width, height = data[body], data[body + 4 : body + 7], data[body + 7 : body + 10]
            canvas = 1 + int.from_bytes(height, "little"), 1 + int.from_bytes(width, "little")
            alpha = bool(flags & _ALPHA)
            if flags & _ANIMATED:
                raise PhotographError("unsupported format", "an animated WebP. Save one picture of it as JPEG or PNG.")
        elif name in (b"ANIM", b"ANMF"):
            raise PhotographError("unsupported format", "an animated WebP. Save one picture of it as JPEG or PNG.")
        elif name in (b"VP8 ", b"VP8L"):
            if picture is not None:  # decoders differ in which one they take
                raise PhotographError("corrupt", f"the WebP holds a second picture at byte {at}.")
            picture, lossless_alpha = _stored_size(data, name, body)
            alpha = alpha or lossless_alpha
        elif name == b"EXIF":
            exif = data[body : body + length]
            orientation = exif_orientation(exif if exif.startswith(PREFIX) else PREFIX + exif) or 1
        at = body + length + length % 2
    if picture is None or (canvas is not None and canvas != picture):
        raise PhotographError(
            "corrupt", f"the WebP states {canvas} rows and columns, its picture {picture}. Store it anew."
        )
    return ImageHeader("webp", *picture, 4 if alpha else 3, alpha, orientation)


def _stored_size(data: bytes, name: bytes, at: int) -> tuple[tuple[int, int], bool]:
    """Returns (height, width) of a lossy or lossless bit stream, and whether it says that it is transparent."""
    if name == b"VP8 ":
        if data[at + 3 : at + 6] != b"\x9d\x01\x2a":
            raise PhotographError("corrupt", "the WebP's picture does not begin as one.")
        width, height = struct.unpack_from("<HH", data, at + 6)
        return (height & 0x3FFF, width & 0x3FFF), False
    signature, packed = struct.unpack_from("<BI", data, at)
    if signature != 0x2F:
        raise PhotographError("corrupt", "the WebP's picture does not begin as one.")
    return (1 + (packed >> 14 & 0x3FFF), 1 + (packed & 0x3FFF)), bool(packed >> 28 & 1)
