"""What an image file says of itself before a pixel of it is decoded: type, size, completeness.

The type is decided by the content, never by the file name. Nothing here allocates more than the file already
takes, so a decompression bomb is seen before it goes off, and a file that was cut off is seen although
decoders would invent the missing part. Standard library only.

Pillow is not asked, though it knows the size before it decodes: it does not see a PNG cut off in its last checksum, nor
an EXIF behind the picture data, refuses a colour profile of more than 1 MB, and takes a BMP's cut header for another
fault; its tiles would still have to be read for the bits of a sample and for the length of a BMP.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

from dr_edge.fundus.exif import PREFIX, exif_orientation
from dr_edge.fundus.format_names import HEAD_BYTES, SUPPORTED, file_name, read_format
from dr_edge.fundus.header_types import ImageHeader, PhotographError
from dr_edge.fundus.heif_boxes import parse_heic
from dr_edge.fundus.jpeg_scans import NEXT_MARKER, START_OF_FRAME, WITHOUT_LENGTH, check_scans
from dr_edge.fundus.tiff_header import parse_tiff
from dr_edge.fundus.webp_header import parse_webp


def read_header(data: bytes) -> ImageHeader:
    """Returns the header of an image file and checks that the file is whole.

    Args:
      data: the whole content of the file.

    Raises:
      PhotographError: empty, of an unsupported format, damaged in its structure, or cut off.
    """
    if not data:
        raise PhotographError("empty file", "it holds zero bytes. Fetch it again.")
    format_ = read_format(data)
    if format_ is None:
        raise PhotographError(
            "unsupported format", f"it is {file_name(data[:HEAD_BYTES])}. Supported: {SUPPORTED}; convert it."
        )
    if format_ == "dicom":
        return ImageHeader("dicom", 0, 0, 0)
    try:
        return _PARSERS[format_](data)
    except (struct.error, IndexError, OverflowError) as err:  # a BigTIFF may name a place beyond any memory
        raise PhotographError("truncated", f"the {len(data)} bytes end inside the header.") from err


_BASELINE_OR_PROGRESSIVE = {0xC0, 0xC1, 0xC2}


def _parse_jpeg(data: bytes) -> ImageHeader:
    header = None
    orientation: int | None = None
    at = 2
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:  # fill bytes are legal before a marker
            at += 1
        if data[at] != 0xFF:
            raise PhotographError("corrupt", f"JPEG marker expected at byte {at}. Received {data[at]:#04x}.")
        marker = data[at + 1]
        if marker == 0xD9:
            break
        if marker in WITHOUT_LENGTH:
            raise PhotographError("corrupt", f"JPEG segment expected at byte {at}. Received marker {marker:#04x}.")
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker == 0xE1 and orientation is None:
            orientation = exif_orientation(data[at + 4 : at + 2 + length])
        if marker in START_OF_FRAME:
            if header is not None:  # decoders differ in which one they take
                raise PhotographError("corrupt", f"the JPEG holds a second frame header at byte {at}.")
            precision, height, width, channels = struct.unpack_from(">BHHB", data, at + 4)
            if marker not in _BASELINE_OR_PROGRESSIVE or precision != 8 or not height or not width:
                raise PhotographError(
                    "unsupported format",
                    f"JPEG process {marker:#04x}, {precision} bit, {width}x{height}. "
                    "Only 8-bit baseline and progressive JPEG are read; convert it.",
                )
            header = ImageHeader("jpeg", height, width, channels)
        at += 2 + length
        if marker == 0xDA:  # entropy-coded data follow; walk to the next marker
            if header is None:
                raise PhotographError("corrupt", "a JPEG scan stands before the frame header.")
            found = _end_of_scan(data, at)
            if found < 0:
                raise PhotographError(
                    "truncated",
                    f"the JPEG's {len(data)} bytes end without its end-of-image marker. Fetch it again.",
                )
            at = found
    if header is None:
        raise PhotographError("corrupt", "the JPEG holds no frame header.")
    check_scans(data)
    return replace(header, orientation=orientation or 1)


def _end_of_scan(data: bytes, start: int) -> int:
    """Returns the position of the marker that ends the scan, or -1."""
    # Most files are one scan and end with it: look at the end first, and spare the search of megabytes.
    end = len(data.rstrip(b"\x00"))
    if data[end - 2 : end] == b"\xff\xd9" and end - 2 >= start:
        return end - 2
    found = NEXT_MARKER.search(data, start)
    return found.start() if found else -1


_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


def _parse_png(data: bytes) -> ImageHeader:
    width, height, bits, colour_type = struct.unpack_from(">IIBB", data, 16)
    if data[12:16] != b"IHDR" or colour_type not in _PNG_CHANNELS or not height or not width:
        raise PhotographError("corrupt", "the PNG's first chunk is no valid IHDR.")
    alpha, orientation, at = colour_type in (4, 6), 1, 8
    while True:
        if at + 12 > len(data):
            raise PhotographError("truncated", f"the PNG's {len(data)} bytes end before its IEND chunk.")
        (length,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 8]
        if at + 12 + length > len(data):
            raise PhotographError("truncated", f"the PNG's {len(data)} bytes end inside a chunk.")
        (stored,) = struct.unpack_from(">I", data, at + 8 + length)
        if zlib.crc32(memoryview(data)[at + 4 : at + 8 + length]) != stored:
            raise PhotographError("corrupt", f"the checksum of the PNG's {name!r} chunk does not match.")
        alpha = alpha or name == b"tRNS"
        if name == b"eXIf":
            orientation = exif_orientation(PREFIX + data[at + 8 : at + 8 + length]) or 1
        if name == b"fdAT":
            raise PhotographError("unsupported format", "an animated PNG. Save one picture of it.")
        if name == b"IEND":
            return ImageHeader("png", height, width, _PNG_CHANNELS[colour_type], alpha, orientation, bits)
        at += 12 + length


def _parse_bmp(data: bytes) -> ImageHeader:
    pixels_at, header_size = struct.unpack_from("<II", data, 10)
    if 14 + header_size > len(data):  # decoders differ in whether they mind
        raise PhotographError("truncated", f"the {len(data)} bytes end inside the BMP's header of {header_size}.")
    if header_size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    width, height = abs(width), abs(height)
    if not width or not height:
        raise PhotographError("corrupt", f"the BMP names a size of {width}x{height}.")
    needed = pixels_at + (width * bits + 31) // 32 * 4 * height
    if compression in (0, 3) and len(data) < needed:
        raise PhotographError("truncated", f"the BMP needs {needed} bytes. Received {len(data)}.")
    return ImageHeader("bmp", height, width, max(1, bits // 8))


_PARSERS = {
    "jpeg": _parse_jpeg,
    "png": _parse_png,
    "tiff": parse_tiff,
    "bmp": _parse_bmp,
    "webp": parse_webp,
    "heic": parse_heic,
}
