"""What a TIFF says of itself: its pages, which of them is the photograph, and whether its storage is read right.

Standard library only; what is kept of the directories grows with the file, not with what its tags state. Pillow's
reader of directories is not taken: it reads no big-endian BigTIFF, of a doubled tag it takes the last (libtiff the
first, so that a bomb would pass), and it keeps whatever any tag points to.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from dr_edge.fundus.header_types import ImageHeader, PhotographError

_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_SIZES = {256: "width", 257: "height", 322: "tile width", 323: "tile height"}
_JPEG_TABLES = 347
# Those that this file and `tiff.py` ask for. Any number of others may point to the same bytes, and would be kept again
# for each.
_USED = frozenset(
    {254, 255, 258, 259, 262, 266, 273, 277, 278, 279, 284, 324, 325, 330, 338, 339, _JPEG_TABLES, 530, *_SIZES}
)
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
      tags: number -> values of the whole-number tags.
    """

    at: int
    tags: dict[int, tuple[int, ...]]

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
    _check_place(page, data)
    _check_kind(page)
    height, width = page.size
    alpha = page.first(338, 0) == UNASSOCIATED_ALPHA
    channels = page.first(277, 1)
    if alpha and channels == 2:
        raise PhotographError("unsupported format", "a grey TIFF with transparency. Save it without.")
    checked = page.first(259, NONE) == NONE
    return ImageHeader("tiff", height, width, channels, alpha, bits=page.first(258, 1), page=page.at, checked=checked)


def read_pages(data: bytes) -> list[Page]:
    """Returns the pages of a TIFF in their order."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    offset = order + ("Q" if big else "I")
    (at,) = struct.unpack_from(offset, data, 8 if big else 4)
    pages: list[Page] = []
    seen: set[int] = set()
    kept = 0
    while at:
        if pages and (at in seen or len(pages) == _MAX_PAGES):
            raise PhotographError(
                "corrupt", f"the TIFF's directories never end, or are more than {_MAX_PAGES}. Save one page."
            )
        seen.add(at)
        tags, end, kept = _read_directory(data, at, order, big, kept)
        pages.append(Page(at, tags))
        try:
            (at,) = struct.unpack_from(offset, data, end)
        except (struct.error, OverflowError):  # the first page is whole; old writers leave the last link out
            break
    if not pages:
        raise PhotographError("corrupt", "the TIFF holds no directory.")
    return pages


def _read_directory(
    data: bytes, at: int, order: str, big: bool, kept: int
) -> tuple[dict[int, tuple[int, ...]], int, int]:
    """Returns the values of the tags asked for, where the directory ends, and `kept`, the bytes of values so far."""
    (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    at += 8 if big else 2
    length, long = (20, "Q") if big else (12, "I")
    tags: dict[int, tuple[int, ...]] = {}
    for index in range(min(entries, _MAX_ENTRIES)):
        entry = at + index * length
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        (count,) = struct.unpack_from(order + long, data, entry + 4)
        if tag not in _USED:
            continue
        if tag == _JPEG_TABLES:  # bytes of no stated type
            kind = 1
        size = struct.calcsize(order + _TYPES[kind]) * count if kind in _TYPES else 0
        unread = kind not in _TYPES or size > len(data)
        if tag in _SIZES and (unread or count != 1 or tag in tags):  # libtiff takes the first, and more types
            raise PhotographError("corrupt", f"the TIFF's {_SIZES[tag]} is given twice, or as no single whole number.")
        if unread or tag in tags:
            continue
        value = entry + (12 if big else 8)
        if size > (8 if big else 4):
            (value,) = struct.unpack_from(order + long, data, value)
        kept += size
        if kept > len(data):
            raise PhotographError(
                "corrupt", f"the TIFF's directories state more values than its {len(data)} bytes hold."
            )
        tags[tag] = struct.unpack_from(f"{order}{count}{_TYPES[kind]}", data, value)
    return tags, at + entries * length, kept


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
    offsets, sizes = places(page)
    if not offsets or any(at + size > len(data) for at, size in zip(offsets, sizes, strict=False)):
        raise PhotographError("truncated", f"the TIFF's {len(data)} bytes end before its picture data do.")


def places(page: Page) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the positions and the lengths in bytes of a page's strips or tiles."""
    return page.tags.get(273) or page.tags.get(324) or (), page.tags.get(279) or page.tags.get(325) or ()


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
