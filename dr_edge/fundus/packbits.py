"""How many bytes a PackBits stream unpacks to, without unpacking it: strips of TIFFs, RLE segments of DICOM."""

from __future__ import annotations


def unpacked_length(stream: bytes, most: int) -> int:
    """Returns the bytes that a stream unpacks to.

    Args:
      stream: one strip, tile or segment. A lone last byte is padding: some writers fill up to an even length.
      most: counting stops above this many.

    Returns:
      The number; -1 where the last run goes on behind the end of the stream.
    """
    at, total = 0, 0
    while at < len(stream) - 1 and total <= most:
        code = stream[at]
        if code < 128:  # that many bytes and one follow
            total, at = total + code + 1, at + code + 2
        elif code > 128:  # the next byte, 257 - code times
            total, at = total + 257 - code, at + 2
        else:
            at += 1
    return total if at <= len(stream) else -1
