"""HEIC photographs (iPhones), through pi-heif, which is an optional extra and holds a decoder only."""

from __future__ import annotations

import cv2
import numpy as np

from dr_edge import extras
from dr_edge.fundus.header_types import PhotographError, check_size
from dr_edge.fundus.hevc import check_whole


def decode_heic(data: bytes, max_pixels: int) -> np.ndarray:
    """Decodes the primary picture of a HEIC file.

    The file's own turn and mirror (irot, imir) and clean aperture are applied; an EXIF orientation beside them is a
    copy for old readers and turns nothing (ISO/IEC 23008-12). 10 bits become 8. libheif itself holds the decoder to the
    stated size.

    Args:
      data: the whole file.
      max_pixels: a larger picture is refused before it is decoded.

    Returns:
      [H, W, 3] uint8 RGB, upright, transparency over black.

    Raises:
      PhotographError: pi-heif is not installed, the file is damaged, or the picture too large or too small.
    """
    try:
        import pi_heif
    except ImportError as err:
        install = extras.install("heic")
        raise PhotographError("pi-heif is missing", f"HEIC files need it. Install it with: {install}") from err
    try:
        for part in ("THUMBNAILS", "DEPTH_IMAGES", "AUX_IMAGES"):  # what phones add is not read
            setattr(pi_heif.options, part, False)
        pi_heif.options.DECODE_THREADS = 1  # builds and the server use one process per core
        opened = pi_heif.open_heif(data, convert_hdr_to_8bit=True)
        picture = next(picture for picture in opened if picture.info["primary"])
        width, height = picture.size
    except Exception as err:  # ValueError, EOFError, SyntaxError, RuntimeError, OSError, by the kind of damage
        raise PhotographError("corrupt", f"the HEIC cannot be read: {_words(err)}") from err
    check_size(height, width, max_pixels)
    try:
        pixels = np.array(picture, copy=True)  # what libheif holds goes with `picture`
    except Exception as err:
        raise PhotographError("corrupt", f"the HEIC cannot be decoded: {_words(err)}") from err
    check_whole(data)
    return _over_black(pixels, picture.mode, (height, width))


def _over_black(pixels: np.ndarray, mode: str, size: tuple[int, int]) -> np.ndarray:
    channels = {"RGB": 3, "RGBA": 4, "RGBa": 4, "L": 1, "LA": 2, "La": 2}.get(mode)
    if (
        channels is None
        or pixels.dtype != np.uint8
        or pixels.shape[:2] != size
        or pixels.size != channels * size[0] * size[1]
    ):
        raise PhotographError(
            "unsupported format", f"a HEIC of {mode}, {pixels.dtype} {pixels.shape}. Save it as JPEG."
        )
    planes = pixels.reshape(*size, channels)
    colours = planes[..., : 3 if channels > 2 else 1]
    rgb = np.ascontiguousarray(colours) if channels > 2 else np.repeat(colours, 3, axis=2)
    if mode in ("RGBA", "LA"):
        return cv2.multiply(rgb, cv2.cvtColor(np.ascontiguousarray(planes[..., -1]), cv2.COLOR_GRAY2RGB), scale=1 / 255)
    return rgb


def _words(err: Exception) -> str:
    return " ".join(str(err).split()) or type(err).__name__
