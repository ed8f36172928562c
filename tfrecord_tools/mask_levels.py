"""The grey levels of a mask file, as they are stored."""

from __future__ import annotations

import io

import cv2
import numpy as np

from dr_edge import extras
from dr_edge.fundus.header_types import PhotographError, check_size
from dr_edge.fundus.image_header import read_header
from dr_edge.fundus.jpeg import upright
from dr_edge.fundus.photograph import decode_photograph
from dr_edge.fundus.png_chunks import without_packed_texts
from dr_edge.fundus.tiff import decode_tiff

SHOWN = 6  # grey levels that a message names


class MaskError(ValueError):
    """A file that cannot be taken as a mask; the message says why and what to do."""


def read_levels(data: bytes, max_pixels: int) -> tuple[np.ndarray, bool]:
    """Reads the grey levels of a mask file as they are stored.

    Args:
      data: the file; PNG (1 to 16 bit, palette, alpha), TIFF, BMP, JPEG or whatever else a photograph may be.
      max_pixels: larger pictures are refused.

    Returns:
      [H, W] grey levels (the index where a palette holds colours, the opacity where only that varies), and whether the
      file's compression changes levels (JPEG). It lies as its EXIF turns it; of a TIFF with several pages it is the
      photograph's page.

    Raises:
      PhotographError: unreadable, or damaged.
      MaskError: colours that are no one level.
      extras.Missing: a palette needs Pillow.
    """
    header = read_header(data)
    if header.format not in ("png", "tiff", "bmp"):
        return _grey(decode_photograph(data, max_pixels=max_pixels), lossy=True), header.format not in ("dicom", "gif")
    check_size(header.height, header.width, max_pixels)
    if header.format == "png":
        data = without_packed_texts(data)
    raw = np.frombuffer(data, np.uint8)
    if header.alpha:
        picture = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
        if picture is not None and picture.ndim == 3 and picture.shape[2] in (2, 4):
            colours, opacity = picture[..., :-1], picture[..., -1]
            if (colours == colours[:1, :1]).all() and opacity.min() != opacity.max():
                return upright(opacity, header.orientation), False
        return _grey(decode_photograph(data, max_pixels=max_pixels), lossy=False), False
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
    picture = decode_tiff(data, header, flags) if header.format == "tiff" else cv2.imdecode(raw, flags)
    if picture is None:
        raise PhotographError("corrupt", f"the {header.format} of {len(data)} bytes cannot be decoded.")
    if picture.ndim == 3 and _is_palette(data) and not _is_grey(picture):
        extras.require("A palette PNG")  # ends the build: every mask of the data set will be one
        from PIL import Image

        return upright(np.asarray(Image.open(io.BytesIO(data))), header.orientation), False
    if not np.isfinite(picture).all():
        raise MaskError("holds values that are no numbers")
    return (picture if picture.ndim == 2 else _grey(picture, lossy=False)), False


def _is_palette(data: bytes) -> bool:
    return data[:8] == b"\x89PNG\r\n\x1a\n" and data[25] == 3


def _is_grey(picture: np.ndarray) -> bool:
    return bool((picture[..., 0] == picture[..., 1]).all() and (picture[..., 1] == picture[..., 2]).all())


def _grey(picture: np.ndarray, *, lossy: bool) -> np.ndarray:
    """Returns the brightest channel where the lit pixels are of one colour.

    Raises:
      MaskError: they are of several.
    """
    level = picture.max(axis=2)
    lit = level >= (int(level.min()) + int(level.max()) + 1) // 2
    if _is_grey(picture) or not lit.any() or level.max() == level.min():
        return level
    colours = picture[lit].astype(np.float32) / np.maximum(level[lit], 1)[:, None]
    strange = np.abs(colours - np.median(colours, axis=0)).max(axis=1) > 0.5
    if strange.mean() > (0.05 if lossy else 0.01):
        raise MaskError(
            "holds several colours. Save each structure as a grey file of its own, or all as grey levels 0, 1, 2"
        )
    return level


def describe(values: np.ndarray, counts: np.ndarray) -> str:
    """Returns "holds the grey levels 0 (98 %), 1 (1 %), 2 (1 %)", the most frequent ones."""
    frequent = sorted(np.argsort(-counts, kind="stable")[:SHOWN])
    shown = ", ".join(f"{values[index]} ({100 * counts[index] / counts.sum():.2g} %)" for index in frequent)
    return f"holds the grey levels {shown}{', ...' if len(values) > SHOWN else ''}"
