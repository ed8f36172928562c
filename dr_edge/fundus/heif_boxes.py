"""The boxes of a HEIC: whether they are whole, and where the coded parts of its primary picture lie, which is one HEVC
picture or the tiles of a grid (ISO/IEC 23008-12).

Standard library only; reads no more than the file holds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from dr_edge.fundus.header_types import ImageHeader, PhotographError

_MAX_TILES = 1024  # of 512 pixels a side they hold more than any photograph
_MAX_PLACES = 8 * _MAX_TILES
_MAX_BOXES = 8 * _MAX_TILES
# Boxes that hold others, and the bytes before these.
_CONTAINERS = {b"meta": 4, b"iinf": 6, b"iprp": 0, b"ipco": 0, b"iref": 4, b"dinf": 0, b"dref": 8, b"grpl": 0}
_CONTAINERS |= dict.fromkeys((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"), 0) | {b"stsd": 8}


@dataclass
class _Meta:
    """What the meta box of a file says.

    Attributes:
      primary: the id of the primary picture.
      kinds: item -> its four letters.
      places: item -> (whether it lies in the idat box, [(position, bytes)]).
      parts: derived item -> the items that it is made of.
      properties: the property boxes in their order: (letters, start, end).
      of_item: item -> numbers of its properties, from 1.
      idat: start and end of the idat box.
    """

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    places: dict[int, tuple[bool, list[tuple[int, int]]]] = field(default_factory=dict)
    parts: dict[int, list[int]] = field(default_factory=dict)
    properties: list[tuple[bytes, int, int]] = field(default_factory=list)
    of_item: dict[int, list[int]] = field(default_factory=dict)
    idat: tuple[int, int] = (0, 0)


def parse_heic(data: bytes) -> ImageHeader:
    """Returns the header of a HEIC, whose size `heic.py` finds, and checks that its boxes are whole.

    Raises:
      PhotographError: cut off.
      struct.error: the bytes end inside a box.
    """
    at, count = 0, 0
    while at < len(data):
        length, _ = struct.unpack_from(">I4s", data, at)
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
        elif length == 0:  # to the end of the file
            break
        if length < 8 and count:
            raise PhotographError("corrupt", f"a box of {length} bytes at byte {at} of the HEIC.")
        at, count = at + max(length, 8), count + 1
    if at > len(data):
        raise PhotographError("truncated", f"the HEIC's boxes need {at} bytes, it has {len(data)}. Fetch it again.")
    _check_count(data)
    return ImageHeader("heic", 0, 0, 0)


def _check_count(data: bytes) -> None:
    """Raises PhotographError where there are more boxes than any picture has: libheif keeps 400 bytes for each of 8."""
    count, inside = 0, [(0, len(data))]
    while inside:
        for name, start, end in _boxes(data, *inside.pop(), lenient=True):
            count += 1
            if count > _MAX_BOXES:
                raise PhotographError("corrupt", f"the HEIC has more than {_MAX_BOXES} boxes. Store it anew.")
            if name in _CONTAINERS:
                head = _CONTAINERS[name]
                inside.append(
                    (start + (head + 2 if name == b"iinf" and data[start : start + 1] != b"\0" else head), end)
                )


def coded_pictures(data: bytes) -> Iterator[list[bytes]]:
    """Yields the NAL units of each coded part of the primary picture, parameter sets first. Parts may share bytes.

    Raises:
      PhotographError: 'unsupported format': the primary picture is neither HEVC nor a grid of it.
      struct.error, IndexError, KeyError, OverflowError: the boxes contradict each other.
    """
    meta = _read_meta(data)
    kind = meta.kinds[meta.primary]
    tiles = (
        [meta.primary]
        if kind == b"hvc1"
        else list(dict.fromkeys(meta.parts.get(meta.primary, [])))
        if kind == b"grid"
        else []
    )
    if not tiles or len(tiles) > _MAX_TILES or any(meta.kinds[tile] != b"hvc1" for tile in tiles):
        raise PhotographError("unsupported format", f"a HEIC of {kind!r} with {len(tiles)} parts. Save it as JPEG.")
    for tile in tiles:
        yield _units(data, meta, tile)


def _read_meta(data: bytes) -> _Meta:
    start, end = next((start, end) for name, start, end in _boxes(data, 0, len(data)) if name == b"meta")
    meta = _Meta()
    for name, at, stop in _boxes(data, start + 4, end):
        version = data[at]
        if name == b"pitm":
            (meta.primary,) = struct.unpack_from(">H" if version == 0 else ">I", data, at + 4)
        elif name == b"iinf":
            for inner, entry, _ in _boxes(data, at + (6 if version == 0 else 8), stop):
                if inner == b"infe" and data[entry] >= 2:
                    item, _, kind = struct.unpack_from(">HH4s" if data[entry] == 2 else ">IH4s", data, entry + 4)
                    meta.kinds[item] = kind
        elif name == b"iloc":
            _read_places(data, at, meta)
        elif name == b"iref":
            for inner, entry, _ in _boxes(data, at + 4, stop):
                if inner == b"dimg":
                    code = "H" if version == 0 else "I"
                    item, count = struct.unpack_from(f">{code}H", data, entry)
                    meta.parts[item] = list(
                        struct.unpack_from(f">{count}{code}", data, entry + struct.calcsize(f">{code}H"))
                    )
        elif name == b"iprp":
            for inner, entry, inner_end in _boxes(data, at, stop):
                if inner == b"ipco":
                    meta.properties = list(_boxes(data, entry, inner_end))
                elif inner == b"ipma":
                    _read_associations(data, entry, meta)
        elif name == b"idat":
            meta.idat = (at, stop)
    return meta


def _boxes(data: bytes, at: int, end: int, lenient: bool = False) -> Iterator[tuple[bytes, int, int]]:
    """Yields (letters, start, end) of the content of each box; raises IndexError at a damaged one, or stops there."""
    while at + 8 <= end:
        length, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            (length,), head = struct.unpack_from(">Q", data, at + 8), 16
        elif length == 0:
            length = end - at
        if length < head or at + length > end:
            if lenient:
                return
            raise IndexError(f"a box of {length} bytes at {at}")
        yield name, at + head, at + length
        at += length


def _read_places(data: bytes, at: int, meta: _Meta) -> None:
    version = data[at]
    offset, length, base = data[at + 4] >> 4, data[at + 4] & 15, data[at + 5] >> 4
    index = data[at + 5] & 15 if version else 0
    at += 6
    left = _MAX_PLACES

    def number(size: int) -> int:
        nonlocal at
        if at + size > len(data):
            raise IndexError("the places end early")
        at += size
        return int.from_bytes(data[at - size : at], "big")

    for _ in range(number(4 if version == 2 else 2)):
        item = number(4 if version == 2 else 2)
        method = number(2) & 15 if version else 0
        number(2)  # which file: this one
        start = number(base)
        places = []
        for _ in range(number(2)):
            number(index)
            place = start + number(offset)
            places.append((place, number(length)))
            left -= 1
            if left < 0:  # a place may take no byte at all
                raise IndexError("more places than any picture has")
        meta.places[item] = (method == 1, places)


def _read_associations(data: bytes, at: int, meta: _Meta) -> None:
    version, wide = data[at], data[at + 3] & 1
    (count,) = struct.unpack_from(">I", data, at + 4)
    at += 8
    for _ in range(count):
        (item,) = struct.unpack_from(">H" if version == 0 else ">I", data, at)
        at += 2 if version == 0 else 4
        associated = data[at]
        at += 1
        for _ in range(associated):
            number = struct.unpack_from(">H", data, at)[0] & 0x7FFF if wide else data[at] & 0x7F
            meta.of_item.setdefault(item, []).append(number)
            at += 2 if wide else 1


def _units(data: bytes, meta: _Meta, item: int) -> list[bytes]:
    hvcc = [meta.properties[number - 1] for number in meta.of_item[item] if number]
    _, at, _ = next(box for box in hvcc if box[0] == b"hvcC")
    prefix = (data[at + 21] & 3) + 1
    units, arrays, at = [], data[at + 22], at + 23
    for _ in range(arrays):
        (count,) = struct.unpack_from(">H", data, at + 1)
        at += 3
        for _ in range(count):
            (length,) = struct.unpack_from(">H", data, at)
            units.append(data[at + 2 : at + 2 + length])
            at += 2 + length
    inside, places = meta.places[item]
    shift = meta.idat[0] if inside else 0
    if sum(length or len(data) for _, length in places) > len(data):
        raise IndexError("the places of a part hold more than the file")
    stream = b"".join(
        data[shift + place : shift + place + length] if length else data[shift + place :] for place, length in places
    )
    at = 0
    while at + prefix <= len(stream):
        length = int.from_bytes(stream[at : at + prefix], "big")
        if at + prefix + length > len(stream):
            raise IndexError("a unit of the stream ends behind it")
        units.append(stream[at + prefix : at + prefix + length])
        at += prefix + length
    return units
