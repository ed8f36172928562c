"""What a TIFF says of itself: its pages, which of them is the photograph, and whether its storage is read right.

Standard library only; what is kept of the directories is less than the file. Pillow's reader of directories is not
taken: it reads no big-endian BigTIFF, of a doubled tag it takes the last (libtiff the first, so that a bomb would
pass), and it keeps whatever any tag points to. So does libtiff, which decodes: a file whose tags point to the same
bytes again and again is refused before.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from dr_edge.fundus.header_types import ImageHeader, PhotographError

_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # of whole numbers
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SIZES = {256: "width", 257: "height", 322: "tile width", 323: "tile height"}
_JPEG_TABLES = 347
_PLACES = (273, 279, 324, 325)  # of strips and tiles: as many values as there are parts
# Those that this file and `tiff.py` ask for; of any but the places and the JPEG tables the first values.
_USED = frozenset({254, 255, 258, 259, 262, 266, 277, 278, 284, 330, 338, 339, 530, _JPEG_TABLES, *_PLACES, *_SIZES})
_FIRST_VALUES = 8
_TILE_PIXELS = 1 << 20  # a tile may exceed a small picture, up to this
_MAX_PAGES, _MAX_ENTRIES = 64, 4096
_ASPECT_TOLERANCE = 0.03  # a thumbnail of 160 x 107 of a photograph of 4288 x 2848
REDUCED, MASK = 1, 4  # bits of NewSubfileType
UNASSOCIATED_ALPHA = 2
NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 7, 8, 32946, 32773
_COMPRESSIONS = {NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS}
_NAMES = {
    2: "CCITT", 3: "CCITT fax 3", 4: "CCITT fax 4", 6: "old-style JPEG", 34712: "JPEG 2000", 34887: "LERC",
    34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL",
}  # fmt: skip
_COLOURS = {
    0: "WhiteIsZero", 1: "BlackIsZero", 2: "RGB", 3: "palette", 4: "transparency mask", 5: "CMYK", 6: "YCbCr",
    8: "CIELab", 9: "ICCLab", 10: "ITULab", 32803: "a camera's colour filter", 34892: "linear raw",
}  # fmt: skip
_READ_COLOURS = {0, 1, 2, 3, 5, 6}


@dataclass(frozen=True)
class Page:
    """One directory of a TIFF.

    Attributes:
      at: its position in the file.
      tags: number -> values of the whole-number tags that are asked for.
    """

    at: int
    tags: dict[int, Sequence[int]]

    def first(self, tag: int, default: int) -> int:
        """Returns the first value of a tag."""
        return (self.tags.get(tag) or (default,))[0]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.first(257, 0), self.first(256, 0)

    @property
    def jpeg_tables(self) -> bytes:
        """What the JPEGs of its strips have in common; empty where there is none."""
        return bytes(self.tags.get(_JPEG_TABLES, ()))

    @property
    def tiled(self) -> bool:
        """True where it is stored in tiles, False where in strips."""
        return 322 in self.tags or 323 in self.tags

    @property
    def reduced(self) -> bool:
        """True where the file says that this is a smaller version of another page, or its mask."""
        return bool(self.first(254, 0) & (REDUCED | MASK)) or self.first(255, 1) == 2


def parse_tiff(data: bytes) -> ImageHeader:
    """Returns the header of the page that is the photograph.

    Raises:
      PhotographError: damaged or cut off, several pages of which any may be meant, or stored in a way that is not read.
      struct.error, IndexError: the bytes end inside a directory.
    """
    pages = read_pages(data)
    page = _photograph(pages)
    for other in pages:
        if other is page or not other.reduced:  # `tiff.py` looks at those
            _check_place(other, data)
    _check_kind(page)
    height, width = page.size
    alpha = page.first(338, 0) == UNASSOCIATED_ALPHA
    channels = page.first(277, 1)
    if alpha and channels == 2:
        raise PhotographError("unsupported format", "a grey TIFF with transparency. Save it without.")
    checked = page.first(259, NONE) == NONE
    bits = page.first(258, 1)
    return ImageHeader(
        "tiff", height, width, channels, alpha, bits=bits, page=page.at, pages=len(pages), checked=checked
    )


def read_pages(data: bytes) -> list[Page]:
    """Returns the pages of a TIFF in their order."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    offset = order + ("Q" if big else "I")
    (at,) = struct.unpack_from(offset, data, 8 if big else 4)
    pages: list[Page] = []
    seen: set[int] = set()
    stated = 0
    while at:
        if pages and (at in seen or len(pages) == _MAX_PAGES):
            raise PhotographError(
                "corrupt", f"the TIFF's directories never end, or are more than {_MAX_PAGES}. Save one page."
            )
        seen.add(at)
        tags, end, stated = _read_directory(data, at, order, big, stated)
        pages.append(Page(at, tags))
        try:
            (at,) = struct.unpack_from(offset, data, end)
        except (struct.error, OverflowError):  # the first page is whole; old writers leave the last link out
            break
    if not pages:
        raise PhotographError("corrupt", "the TIFF holds no directory.")
    return pages


def _read_directory(
    data: bytes, at: int, order: str, big: bool, stated: int
) -> tuple[dict[int, Sequence[int]], int, int]:
    """Returns the values of the tags asked for, where the directory ends, and `stated`: the bytes of all values so far,
    of other tags too, which libtiff keeps.
    """
    (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    at += 8 if big else 2
    length, long, inline = (20, "Q", 8) if big else (12, "I", 4)
    tags: dict[int, Sequence[int]] = {}
    for index in range(min(entries, _MAX_ENTRIES)):
        entry = at + index * length
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        (count,) = struct.unpack_from(order + long, data, entry + 4)
        if tag == _JPEG_TABLES:  # bytes of no stated type
            kind = 1
        size = _BYTES.get(kind, 0) * count
        beyond = size > len(data)  # libtiff passes over it
        stated += 0 if beyond or size <= inline else size
        if stated > len(data):
            raise PhotographError(
                "corrupt", f"the TIFF's directories state more values than its {len(data)} bytes hold."
            )
        if tag not in _USED:
            continue
        unread = kind not in _TYPES or beyond
        if tag in _SIZES and (unread or count != 1 or tag in tags):  # libtiff takes the first, and more types
            raise PhotographError("corrupt", f"the TIFF's {_SIZES[tag]} is given twice, or as no single whole number.")
        if unread or tag in tags:
            continue
        value = entry + (12 if big else 8)
        if size > inline:
            (value,) = struct.unpack_from(order + long, data, value)
        tags[tag] = _values(data, value, tag, order + _TYPES[kind], count)
    return tags, at + entries * length, stated


def _values(data: bytes, at: int, tag: int, code: str, count: int) -> Sequence[int]:
    """Returns values of a tag in no more memory than they take in the file."""
    if tag not in (*_PLACES, _JPEG_TABLES):
        return struct.unpack_from(f"{code[0]}{min(count, _FIRST_VALUES)}{code[1]}", data, at)
    end = at + struct.calcsize(code) * count
    if end > len(data):
        raise IndexError("the values end behind the file")
    if tag == _JPEG_TABLES:
        return bytes(data[at:end])
    values = array(code[1], bytes(data[at:end]))
    if (code[0] == "<") != (sys.byteorder == "little"):
        values.byteswap()
    return values


def _photograph(pages: Sequence[Page]) -> Page:
    """Returns the one page of full resolution: all others are masks or smaller versions of it.

    Raises:
      PhotographError: there is none, or more than one may be meant.
    """
    for page in pages:
        if not all(page.size):
            raise PhotographError("corrupt", "a directory of the TIFF names no width and height.")
    full = [page for page in pages if not page.reduced]
    if len(pages) == 1 and not pages[0].tags.get(330):
        return pages[0]
    if not full:
        _refuse_pages(pages, "each says that it is a smaller version of another picture, which is not read")
    best = max(full, key=lambda page: page.size[0] * page.size[1])
    for page in pages:
        if page is not best and not _is_smaller_version(page, best):
            _refuse_pages(pages, "more than one may be the photograph")
    if sum(page.size[0] * page.size[1] for page in full) > 2 * best.size[0] * best.size[1]:  # a pyramid has 4 / 3
        _refuse_pages(pages, "they are more than a photograph and its smaller versions")
    return best


def _is_smaller_version(page: Page, best: Page) -> bool:
    if page.first(254, 0) & MASK:
        return True
    aspect = page.size[1] / page.size[0] / (best.size[1] / best.size[0])
    # Whoever leaves NewSubfileType out writes thumbnails and pyramids all the same: at most half as wide.
    most = 1.0 if page.reduced else 0.5
    slack = 1 / min(page.size)  # a small thumbnail is rounded to whole pixels
    return page.size[1] <= most * best.size[1] + 1 and abs(aspect - 1) <= max(_ASPECT_TOLERANCE, slack)


def _refuse_pages(pages: Sequence[Page], why: str) -> NoReturn:
    sizes = ", ".join(f"{page.size[1]}x{page.size[0]}" for page in pages[:6]) + (", ..." if len(pages) > 6 else "")
    raise PhotographError("several pages", f"the TIFF's pages are {sizes}; {why}. Save the photograph alone.")


def _check_place(page: Page, data: bytes) -> None:
    tile, pixels = page.first(322, 0) * page.first(323, 0), page.size[0] * page.size[1]
    if tile > max(2 * pixels, _TILE_PIXELS):  # decoders reserve all of it
        raise PhotographError("corrupt", f"a tile of {tile} pixels in a TIFF of {pixels}.")
    needed = parts(page)
    offsets, sizes = places(page)
    if len(offsets) < needed or any(at + size > len(data) for at, size in zip(offsets, sizes, strict=False)):
        raise PhotographError("truncated", f"the TIFF's {len(data)} bytes end before its picture data do.")


def parts(page: Page) -> int:
    """Returns how many strips or tiles a page has.

    Raises:
      PhotographError: strips without rows, or tiles without a size.
    """
    height, width = page.size
    down, across = (page.first(323, 0), page.first(322, 0)) if page.tiled else (page.first(278, height), width)
    if not down or not across:
        raise PhotographError("corrupt", "the TIFF's strips have no rows, or its tiles no size.")
    planes = page.first(277, 1) if page.first(284, 1) == 2 else 1
    return -(-height // down) * -(-width // across) * planes


def places(page: Page) -> tuple[Sequence[int], Sequence[int]]:
    """Returns the positions and the lengths in bytes of a page's strips or tiles; what is listed beyond them is left
    out.
    """
    needed = parts(page)
    return (
        (page.tags.get(273) or page.tags.get(324) or ())[:needed],
        (page.tags.get(279) or page.tags.get(325) or ())[:needed],
    )


def _check_kind(page: Page) -> None:
    """Raises PhotographError unless OpenCV gives these samples as they were meant."""
    bits, samples = set(page.tags.get(258, (1,))), page.first(277, 1)
    kind, colour, compression = page.first(339, 1), page.first(262, 1), page.first(259, NONE)
    if kind == 3:
        _refuse("floating point samples")
    if kind != 1 and kind != 4:  # 4 is 'undefined': whole numbers
        _refuse("signed samples" if kind == 2 else "complex samples")
    if len(bits) != 1 or not bits <= {1, 8, 16}:
        _refuse(f"{'/'.join(map(str, sorted(bits)))}-bit samples")
    if compression not in _COMPRESSIONS and not (compression in (2, 3, 4) and bits == {1}):
        _refuse(f"{_NAMES.get(compression, f'compression {compression}')}")
    if colour not in _READ_COLOURS:
        _refuse(f"{_COLOURS.get(colour, f'photometric interpretation {colour}')} samples")
    if samples > 5 or (bits != {8} and colour in (3, 5, 6)) or (bits == {16} and colour == 0):
        _refuse(f"{samples} samples of {min(bits)} bits, {_COLOURS[colour]}")


def _refuse(what: str) -> NoReturn:
    raise PhotographError("unsupported format", f"{what} in a TIFF. Save it as 8-bit RGB.")
