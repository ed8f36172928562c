"""The colours of a JPEG inside a DICOM file: RGB or YCbCr is what the data set and the JPEG together mean.

As pydicom decides: component names R, G, B mean RGB, a JFIF segment means YCbCr, an Adobe segment what it says; where
the JPEG is silent, the data set's photometric interpretation counts. libjpeg would take every silent JPEG for YCbCr.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dr_edge.fundus.header_types import PhotographError

_RGB_NAMES = (b"RGB", b"rgb")
_START_OF_FRAME = {0xC0, 0xC1, 0xC2}


@dataclass
class _Colours:
    """What a JPEG says of its colours.

    Attributes:
      jfif: it has a JFIF segment.
      adobe: the colour transform of its Adobe segment; None where there is none.
      names: the component names.
      sampling: the sampling factors, one byte a component.
    """

    jfif: bool = False
    adobe: int | None = None
    names: bytes = b""
    sampling: bytes = b""


def with_colours(jpeg: bytes, rgb: bool | None) -> bytes:
    """Returns a JPEG that libjpeg decodes to the colours that were meant, without EXIF: pydicom turns no picture.

    Args:
      jpeg: a whole JPEG, its structure checked by `read_header`.
      rgb: True where the data set says that its samples are RGB, False for YBR; None for a grey JPEG.

    Raises:
      PhotographError: 'unsupported DICOM': JPEG and data set contradict each other.
    """
    kept, colours, rest = _taken_apart(jpeg)
    if rgb is None:
        return b"\xff\xd8" + kept + rest
    return b"\xff\xd8" + _adobe(0 if _is_rgb(colours, rgb) else 1) + kept + rest


def _is_rgb(colours: _Colours, rgb: bool) -> bool:
    said = "RGB" if rgb else "YBR"
    if colours.names in _RGB_NAMES:
        if colours.jfif or colours.adobe == 1:
            _contradict("its JPEG names its components R, G and B, and says that they are YCbCr")
        return True
    if colours.adobe == 0:
        if not rgb:
            _contradict(f"the data set says {said}, its JPEG RGB")
        return True
    if colours.adobe is not None or colours.jfif:
        return False
    if rgb and len(set(colours.sampling)) != 1:
        _contradict("the data set says RGB, its JPEG halves the resolution of two components, as only YCbCr does")
    return rgb


def _contradict(what: str) -> None:
    raise PhotographError("unsupported DICOM", f"{what}. Which colours are right? Store it uncompressed.")


def _taken_apart(jpeg: bytes) -> tuple[bytes, _Colours, bytes]:
    """Returns the segments before the first scan without JFIF, EXIF and Adobe ones, what they say, and the scans."""
    kept: list[bytes] = []
    colours, at = _Colours(), 2
    while True:
        while jpeg[at + 1] == 0xFF:
            at += 1
        marker = jpeg[at + 1]
        (length,) = struct.unpack_from(">H", jpeg, at + 2)
        body = jpeg[at + 4 : at + 2 + length]
        if marker == 0xDA:
            return b"".join(kept), colours, jpeg[at:]
        if marker == 0xE0 and body.startswith(b"JFIF"):
            colours.jfif = True
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            colours.adobe = body[11]
        elif not 0xE0 <= marker <= 0xEF:
            kept.append(jpeg[at : at + 2 + length])
            if marker in _START_OF_FRAME:
                count = body[5]
                colours.names, colours.sampling = body[6 : 6 + 3 * count : 3], body[7 : 7 + 3 * count : 3]
        at += 2 + length


def _adobe(transform: int) -> bytes:
    return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])
