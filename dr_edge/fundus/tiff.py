"""Decodes the photograph of a TIFF, and refuses one whose compressed data are damaged: libtiff's decoders fill what is
missing, or go on with garbage, and OpenCV does not ask.

LZW and PackBits have no checksum; what is checked is that each strip unpacks to exactly the bytes that its rows need,
which a damaged one hardly ever does.
"""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import simplejpeg

from dr_edge.fundus import lzw, packbits
from dr_edge.fundus.header_types import ImageHeader, PhotographError
from dr_edge.fundus.jpeg_scans import check_scans
from dr_edge.fundus.tiff_header import (
    DEFLATE,
    JPEG,
    LZW,
    OLD_DEFLATE,
    PACKBITS,
    Page,
    places,
    read_pages,
)

_MOST_GROWTH, _HEAD_BYTES = 2, 64  # neither makes data larger than half as much again; what is, would be read for long
_JPEG_BLOCK = 32
_LIKENESS = 0.9  # correlation of a thumbnail with its picture; two eyes reach about 0.8


def decode_tiff(data: bytes, header: ImageHeader, flags: int) -> np.ndarray | None:
    """Decodes the page that `header.page` names.

    Args:
      data: the whole file.
      header: from `read_header`.
      flags: of cv2.imdecode.

    Returns:
      What cv2.imdecode returns.

    Raises:
      PhotographError: 'damaged TIFF data'; 'several pages', where a small page is no version of the large one.
    """
    pages = read_pages(data)
    page = next(page for page in pages if page.at == header.page)
    if not header.checked:
        _check_data(data, page)
    image = _decode(data, page, flags)
    unmarked = [other for other in pages if other is not page and not other.reduced]
    if unmarked and image is not None:
        grey = _decode(data, page, cv2.IMREAD_GRAYSCALE)
        for other in unmarked:
            _check_version(_decode(data, other, cv2.IMREAD_GRAYSCALE), grey)
    return image


def _decode(data: bytes, page: Page, flags: int) -> np.ndarray | None:
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    start, code = (8, order + "Q") if big else (4, order + "I")
    if struct.unpack_from(code, data, start)[0] != page.at:
        changed = bytearray(data)  # decoders take the first page: make it this one
        struct.pack_into(code, changed, start, page.at)
        data = bytes(changed)
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def _check_version(small: np.ndarray | None, large: np.ndarray | None) -> None:
    """Raises PhotographError unless one grey picture is the other one, reduced."""
    if small is not None and large is not None:
        reduced = cv2.resize(large, small.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float64)
        a, b = reduced - reduced.mean(), small - small.mean()
        if (a * b).sum() >= _LIKENESS * np.sqrt((a * a).sum() * (b * b).sum()):
            return
    raise PhotographError("several pages", "the TIFF's smaller page shows another picture. Save the photograph alone.")


def _check_data(data: bytes, page: Page) -> None:
    """Raises PhotographError where a strip or a tile of the page is damaged."""
    compression = page.first(259, 1)
    for index, (at, size) in enumerate(zip(*places(page), strict=False)):
        block, needed = data[at : at + size], _needed(page, index)
        if page.first(266, 1) == 2 and compression == LZW:
            continue  # of the bits in reverse order, an oddity of fax machines, nothing is known
        if compression in (LZW, PACKBITS) and size > _MOST_GROWTH * needed[-1] + _HEAD_BYTES:
            whole = False
        elif compression in (DEFLATE, OLD_DEFLATE):
            whole = _inflates(block, needed[-1])
        elif compression == LZW:
            whole = lzw.unpacked_length(block, needed[-1]) in needed
        elif compression == PACKBITS:
            whole = packbits.unpacked_length(block, needed[-1]) in needed
        elif compression == JPEG:
            whole = _jpeg_is_whole(block, page)
        else:
            whole = True
        if not whole:
            raise PhotographError(
                "damaged TIFF data",
                f"part {index + 1} of its picture is missing or garbled. Copy or fetch the file again.",
            )


def _needed(page: Page, index: int) -> tuple[int, ...]:
    """Returns how many bytes a strip or tile may unpack to, the most last: the last may be padded to its full rows."""
    height, width = page.size
    samples = 1 if page.first(284, 1) == 2 else page.first(277, 1)
    bits = page.first(258, 1)
    if page.tiled:
        return (page.first(323, 0) * (-(-page.first(322, 0) * samples * bits // 8)),)
    rows = min(page.first(278, height), height)
    strips = -(-height // rows)
    left = min(rows, height - rows * (index % strips))
    across, down = (page.tags.get(530, (2, 2)) if page.first(262, 1) == 6 else (1, 1))[:2]
    if (across, down) != (1, 1):  # chroma is stored once for a block
        blocks = -(-width // across) * (across * down + 2)
        return -(-left // down) * blocks, -(-rows // down) * blocks
    row = -(-width * samples * bits // 8)
    return left * row, rows * row


def _inflates(block: bytes, most: int) -> bool:
    unpacker = zlib.decompressobj()
    try:
        unpacked = len(unpacker.decompress(block, most + 1))
    except zlib.error:
        return False
    return unpacker.eof and unpacked <= most


def _most_pixels(page: Page) -> int:
    """Returns how many pixels the JPEG of a strip or tile may have, padded to whole blocks."""
    height, width = page.size
    down, across = (page.first(323, 0), page.first(322, 0)) if page.tiled else (page.first(278, height), width)
    return ((down if page.tiled else min(down, height)) + _JPEG_BLOCK) * (across + _JPEG_BLOCK)


def _jpeg_is_whole(block: bytes, page: Page) -> bool:
    """Tells whether one strip or tile decodes; its tables stand apart in the file."""
    tables = page.jpeg_tables
    stream = tables[:-2] + block[2:] if len(tables) > 4 else block
    check_scans(stream)
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(stream, strict=True)
        if height * width > _most_pixels(page):
            return False
        simplejpeg.decode_jpeg(
            stream, "GRAY" if space == "GRAY" else "CMYK" if space in ("CMYK", "YCCK") else "RGB", strict=True
        )
    except ValueError:
        return False
    return True
