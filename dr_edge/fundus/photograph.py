"""Reads one photograph file into upright 8-bit RGB, or says in one short reason why it cannot be taken.

Size and completeness are checked on the bytes before anything is decoded (`image_header.py`), the type is
decided by the content, EXIF orientation is applied, transparency is laid over black, and a JPEG may be
decoded at 1/2, 1/4 or 1/8 of its size when no more is needed: a full-size fundus photograph then takes a
quarter of the time. A picture with a hole in it is refused (`jpeg.py`, `tiff.py`), and so is one whose 16-bit samples
hold 14 bits or fewer (`sixteen_bits.py`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dr_edge.fundus.header_types import MAX_PIXELS, ImageHeader, PhotographError, check_size
from dr_edge.fundus.image_header import read_header
from dr_edge.fundus.jpeg import decode_jpeg, upright
from dr_edge.fundus.png_chunks import without_packed_texts
from dr_edge.fundus.sixteen_bits import check_brightness

BYTES_PER_PIXEL = 8  # 16-bit RGBA, stored plainly
HEADROOM = 1 << 20


@dataclass(frozen=True)
class Decoded:
    """A decoded photograph.

    Attributes:
      image: [H, W, 3] uint8 RGB, upright; a JPEG may be reduced.
      denominator: 1, 2, 4 or 8: pixel edge x of `image` is x * denominator in the photograph.
      size: (height, width) of the upright photograph in pixels.
      pages: of a TIFF, thumbnails and masks counted; the largest is the photograph.
    """

    image: np.ndarray
    denominator: int
    size: tuple[int, int]
    pages: int = 1


def read_photograph(
    path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS, min_side: int | None = None
) -> np.ndarray:
    """Reads a photograph file.

    Args:
      path: JPEG (CMYK and progressive too), PNG (8 or 16 bit, grey, palette, alpha), TIFF, BMP, WebP, HEIC or DICOM.
        Its name does not matter, its content does.
      max_pixels: a larger picture is refused before it is decoded.
      min_side: when given, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as the shorter side
        of the result is not below `min_side`. `read_scaled` also says which was taken.

    Returns:
      [H, W, 3] uint8 RGB, upright.

    Raises:
      PhotographError: with `.reason`: 'no file', 'file too large', 'empty file', 'unsupported format',
        'truncated', 'damaged JPEG data', 'too many scans', 'damaged TIFF data', 'damaged HEIC data', 'corrupt',
        'too many pixels', 'too small', 'several pages', 'unsupported DICOM', 'pydicom is missing', 'pi-heif is
        missing'.
    """
    return read_scaled(path, max_pixels=max_pixels, min_side=min_side)[0]


def decode_photograph(data: bytes, *, max_pixels: int = MAX_PIXELS, min_side: int | None = None) -> np.ndarray:
    """As `read_photograph`, for the bytes of a file (an upload)."""
    return decode_scaled(data, max_pixels=max_pixels, min_side=min_side)[0]


def read_scaled(
    path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS, min_side: int | None = None
) -> tuple[np.ndarray, int]:
    """As `read_photograph`, but returns (image, denominator): edge x of `image` is x * denominator in the file."""
    data = read_file(path, max_pixels)
    try:
        return decode_scaled(data, max_pixels=max_pixels, min_side=min_side)
    except PhotographError as err:
        raise PhotographError(err.reason, f"{path}: {err.detail}") from err


def read_file(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> bytes:
    """Returns the bytes of a photograph file.

    Raises:
      PhotographError: no regular file, one that cannot be read, or larger than any picture of `max_pixels`.
    """
    path = Path(path)
    if not path.is_file():  # a pipe or a device would block for ever
        said = "is no regular file" if os.path.lexists(path) else "does not exist"
        raise PhotographError("no file", f"{path} {said}.")
    limit = max_pixels * BYTES_PER_PIXEL + HEADROOM
    try:
        size = path.stat().st_size
        if size > limit:
            raise PhotographError("file too large", f"{path} takes {size} bytes. At most {limit} are read.")
        return path.read_bytes()
    except OSError as err:
        raise PhotographError("no file", f"{path} cannot be read: {err.strerror}.") from err


def decode_scaled(data: bytes, *, max_pixels: int = MAX_PIXELS, min_side: int | None = None) -> tuple[np.ndarray, int]:
    """As `decode_photograph`, and returns (image, denominator) like `read_scaled`."""
    decoded = decode(data, max_pixels=max_pixels, min_side=min_side)
    return decoded.image, decoded.denominator


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, min_side: int | None = None) -> Decoded:
    """Decodes the bytes of a file, and says how large the photograph is.

    Args:
      data, max_pixels, min_side: as for `read_photograph`.

    Raises:
      PhotographError: as `read_photograph`.
    """
    if min_side is not None and min_side < 1:
        raise ValueError(f"min_side must be at least 1. Received: {min_side}.")
    header = read_header(data)
    if header.format == "dicom":
        return _decode_dicom(data, max_pixels, min_side)
    if header.format == "heic":
        from dr_edge.fundus.heic import decode_heic

        image = decode_heic(data, max_pixels)
        return Decoded(image, 1, image.shape[:2])
    check_size(header.height, header.width, max_pixels)
    denominator = _denominator(header, min_side)
    image = _decode(data, header, denominator)
    return Decoded(image, denominator, _upright_size(image, denominator, header), header.pages)


def from_array(image: np.ndarray, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Returns a photograph that was decoded elsewhere, as `decode` returns those of files.

    Args:
      image: [H, W, 3] uint8 RGB, upright.
      max_pixels: a larger one is refused.

    Raises:
      ValueError: another shape or dtype.
      PhotographError: too large or too small; see `read_photograph`.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            "A photograph as an array is [H, W, 3] uint8, red, green, blue, 0..255. Received: "
            f"{list(image.shape)} {image.dtype}. Give the file's path or its bytes, or convert it."
        )
    height, width = image.shape[:2]
    check_size(height, width, max_pixels)
    return Decoded(np.ascontiguousarray(image), 1, (height, width))


def _decode_dicom(data: bytes, max_pixels: int, min_side: int | None) -> Decoded:
    from dr_edge.fundus.dicom import read_frame

    frame = read_frame(data, max_pixels=max_pixels)
    if isinstance(frame, np.ndarray):
        return Decoded(frame, 1, frame.shape[:2])
    decoded = decode(frame.data, max_pixels=max_pixels, min_side=min_side)
    if frame.table is None:
        return decoded
    return Decoded(cv2.LUT(decoded.image, frame.table), decoded.denominator, decoded.size)


def _upright_size(image: np.ndarray, denominator: int, header: ImageHeader) -> tuple[int, int]:
    """Returns (height, width) of the upright photograph; only JPEG is reduced; its header states how EXIF turns it."""
    if denominator == 1:
        return int(image.shape[0]), int(image.shape[1])
    return (header.width, header.height) if header.orientation > 4 else (header.height, header.width)


def _denominator(header: ImageHeader, min_side: int | None) -> int:
    if min_side is None or header.format != "jpeg":
        return 1
    shorter = min(header.height, header.width)
    return next((d for d in (8, 4, 2) if shorter // d >= min_side), 1)


def _decode(data: bytes, header: ImageHeader, denominator: int) -> np.ndarray:
    # Releases of OpenCV differ in which PNG and WebP they turn by their EXIF: these are turned here. Of a TIFF it lays
    # alpha over black itself.
    turned_here = header.format in ("png", "webp")
    unchanged = (header.alpha and header.format != "tiff") or header.format == "webp"
    flags = cv2.IMREAD_UNCHANGED if unchanged else cv2.IMREAD_COLOR_RGB
    if turned_here and not unchanged:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        if header.format == "jpeg":
            image = decode_jpeg(data, header, denominator)
        elif header.format == "tiff":
            from dr_edge.fundus.tiff import decode_tiff

            image = decode_tiff(data, header, flags)
        else:
            if header.format == "png":
                data = without_packed_texts(data)
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as err:
        raise PhotographError("corrupt", f"the {header.format} cannot be decoded: {err.err}.") from err
    if image is None:
        raise PhotographError("corrupt", f"the {header.format} of {len(data)} bytes cannot be decoded.")
    if unchanged:
        image = _over_black(image)
    if turned_here:
        image = upright(image, header.orientation)
    if header.bits == 16:
        check_brightness(image, header.format, lambda: _decode_deep(data, header))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise PhotographError(
            "unsupported format",
            f"the {header.format} decodes to {image.dtype} {image.shape}. Convert it to 8-bit RGB.",
        )
    # The limit was held against what the header states; EXIF may turn it.
    stated = -(-header.height // denominator), -(-header.width // denominator)
    if image.shape[:2] not in (stated, stated[::-1]):
        raise PhotographError(
            "corrupt",
            f"the {header.format}'s header states {header.width}x{header.height}; at 1/{denominator} of it, "
            f"{image.shape[1]}x{image.shape[0]} were decoded. Store it anew.",
        )
    return image


def _decode_deep(data: bytes, header: ImageHeader) -> np.ndarray | None:
    if header.format == "tiff":
        from dr_edge.fundus.tiff import decode_tiff

        return decode_tiff(data, header, cv2.IMREAD_UNCHANGED)
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def _over_black(image: np.ndarray) -> np.ndarray:
    """Returns [H, W, 3] uint8 RGB of a picture with transparency laid over black; what was hidden stays hidden."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    if image.shape[2] == 3:  # the decoder resolved the transparency itself
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    alpha = cv2.cvtColor(image[..., 3], cv2.COLOR_GRAY2RGB)
    return cv2.multiply(cv2.cvtColor(image, cv2.COLOR_BGRA2RGB), alpha, scale=1 / 255)
