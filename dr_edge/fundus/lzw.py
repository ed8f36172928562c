"""How many bytes an LZW stream of a TIFF unpacks to, without unpacking it: a damaged one gives another number.

Between two clear codes the width of each code follows from its place alone, so that numpy takes the codes out of the
bits.
"""

from __future__ import annotations

import numpy as np

_CLEAR, _END, _FIRST = 256, 257, 258
_LAST = 4096  # a table has no more codes
# Encoders clear a full table, of 5 kB of codes. One that clears after each code makes work of hours.
_FEW, _STREAM_PER_CLEAR = 16, 64
_BLOCK = _LAST - _FIRST + 2  # codes between two clear codes at most, and that one


def _widths() -> np.ndarray:
    """Returns the bits of each code after a clear code; the width grows one code early, as TIFF has it."""
    known = _FIRST + np.maximum(np.arange(_BLOCK) - 1, 0)
    return 9 + (known >= 511).astype(np.int64) + (known >= 1023) + (known >= 2047)


_WIDTHS = _widths()
_STARTS = np.concatenate([[0], np.cumsum(_WIDTHS)])


def unpacked_length(stream: bytes, most: int) -> int:
    """Returns the bytes that a stream unpacks to.

    Args:
      stream: one strip or tile, from its clear code to its end code.
      most: counting stops above this many.

    Returns:
      The number; -1 where a code stands for nothing, or the stream goes on behind its end, or ends without one.
    """
    data = np.frombuffer(stream + bytes(4), np.uint8)
    bits = 8 * len(stream)
    at, total, clears = 0, 0, 0
    if _codes(data, 0, bits)[:1].tolist() != [_CLEAR]:
        return -1
    while total <= most:
        codes = _codes(data, at, bits)
        stops = np.flatnonzero((codes == _CLEAR) | (codes == _END))
        if not len(stops):  # some writers leave the end code out
            counted = _count(codes.tolist())
            return total + counted if counted >= 0 and bits - at - _STARTS[len(codes)] < 16 else -1
        stop = int(stops[0])
        counted, clears = _count(codes[:stop].tolist()), clears + 1
        if counted < 0 or clears > _FEW + len(stream) // _STREAM_PER_CLEAR:
            return -1
        total += counted
        at += int(_STARTS[stop + 1])
        if codes[stop] == _END:
            return total if bits - at < 16 else -1
    return total


def _codes(data: np.ndarray, at: int, bits: int) -> np.ndarray:
    """Returns the codes from bit `at` on, as if a clear code stood before them, [n] int64."""
    count = int(np.searchsorted(_STARTS, bits - at, "right")) - 1
    starts, widths = at + _STARTS[:count], _WIDTHS[:count]
    byte = starts >> 3
    word = (data[byte].astype(np.int64) << 16) | (data[byte + 1].astype(np.int64) << 8) | data[byte + 2]
    return (word >> (24 - (starts & 7) - widths)) & ((1 << widths) - 1)


def _count(codes: list[int]) -> int:
    """Returns the bytes that codes after a clear code stand for; -1 where one is not known yet."""
    lengths = [1] * _FIRST
    total, last = 0, 0
    for code in codes:
        if last:
            lengths.append(last + 1)
        if code >= len(lengths):
            return -1
        last = lengths[code]
        total += last
    return total
