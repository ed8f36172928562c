"""Decodes a JPEG, and refuses one whose picture data are damaged: libjpeg fills a hole with grey or shifted blocks and
only warns, on standard error, which OpenCV leaves there.

simplejpeg raises on such a warning; its pixels are those of OpenCV (both are libjpeg-turbo), so that one decoding does
both.
"""

from __future__ import annotations

import re

import cv2
import numpy as np
import simplejpeg

from dr_edge.fundus.header_types import ImageHeader, PhotographError

# Encoders leave a few bytes, or padding, between the last block and the end marker: the picture before them is whole.
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_HARMLESS_BYTES = 3
# Warnings that say nothing of the pixels, and what simplejpeg does not do though OpenCV does. Anything else is damage:
# also an error that ends libjpeg's decoding, after which OpenCV hands over the part of the picture that it has.
_HARMLESS = (
    "Warning: unknown JFIF revision",
    "Unknown Adobe color transform",
    "Invalid SOS parameters for sequential",
    "Corrupt JPEG data: bad ICC marker",  # no colour profile is applied
    "Could not determine subsampling",
    "Could not determine colorspace",
    "Unsupported color conversion",
)
_TURNS = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}
_OPENCV_REDUCED = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def decode_jpeg(data: bytes, header: ImageHeader, denominator: int = 1) -> np.ndarray | None:
    """Decodes a JPEG upright at 1/`denominator` of its size.

    Args:
      data: the whole file.
      header: from `read_header`.
      denominator: 1, 2, 4 or 8.

    Returns:
      [ceil(H / denominator), ceil(W / denominator), 3] uint8 RGB, EXIF orientation applied; None where no decoder takes
      it.

    Raises:
      PhotographError: 'damaged JPEG data', where part of the picture is missing or garbled.
    """
    try:
        image = _decode(data, header, denominator, strict=True)
    except ValueError as err:
        _check_damage(err, data)
        # libjpeg words its first warning alone: without what gave that one, the next is heard.
        plain = _without_quirks(data)
        try:
            image = _decode(plain, header, denominator, strict=True)
        except ValueError as second:
            _check_damage(second, plain)
            image = _decode_leniently(data, header, denominator)
    if image is None:  # inks, or a subsampling that only OpenCV takes; it turns the picture by itself
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _OPENCV_REDUCED[denominator])
        return image if image is None or denominator == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return upright(image, header.orientation)


def _decode(data: bytes, header: ImageHeader, denominator: int, strict: bool) -> np.ndarray | None:
    """Returns the picture as it is stored; None for four inks, which were only looked through. Raises ValueError."""
    if header.channels == 4:
        simplejpeg.decode_jpeg(data, "CMYK", min_height=1, min_width=1, min_factor=8, strict=strict)
        return None
    return simplejpeg.decode_jpeg(
        data,
        "RGB",
        min_height=-(-header.height // denominator),
        min_width=-(-header.width // denominator),
        min_factor=denominator,
        strict=strict,
    )


def _decode_leniently(data: bytes, header: ImageHeader, denominator: int) -> np.ndarray | None:
    try:
        return _decode(data, header, denominator, strict=False)
    except ValueError:
        return None


def _check_damage(err: ValueError, data: bytes) -> None:
    """Raises PhotographError where libjpeg's words mean damage."""
    if _is_damage(str(err), data):
        raise PhotographError(
            "damaged JPEG data",
            f"part of the picture is missing or garbled ({err}). Copy or fetch the file again.",
        ) from err


def _without_quirks(data: bytes) -> bytes:
    """Returns the same picture without what libjpeg warns of though it changes no pixel: a colour profile, an unknown
    revision of JFIF, parameters that a sequential scan has no use for.
    """
    kept, at, sequential = [data[:2]], 2, False
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segment = bytearray(data[at:end])
        sequential = sequential or marker in (0xC0, 0xC1)
        if marker == 0xE0 and segment[4:9] == b"JFIF\0":
            segment[9:11] = b"\x01\x01"
        if marker == 0xDA and sequential:
            segment[-3:] = b"\0\x3f\0"
        if marker != 0xE2:
            kept.append(bytes(segment))
        at = end
        if marker == 0xDA:  # the picture data follow
            break
    return b"".join([*kept, data[at:]])


def _is_damage(warning: str, data: bytes) -> bool:
    """Tells whether libjpeg's words mean that the picture is not what was stored."""
    left_over = _LEFT_OVER.search(warning)
    if left_over:
        count = int(left_over[1])
        end = data.rfind(b"\xff\xd9")
        return count > _HARMLESS_BYTES and len(set(data[end - count : end])) > 1
    return not warning.startswith(_HARMLESS)


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turns a picture [H, W] or [H, W, C] as its EXIF orientation (1..8) says."""
    if orientation in (2, 5, 7):
        image = cv2.flip(image, 1)
    elif orientation == 4:
        image = cv2.flip(image, 0)
    turn = _TURNS.get({5: 8, 7: 6}.get(orientation, orientation))
    return image if turn is None else cv2.rotate(image, turn)
