"""Ophthalmic photographs in DICOM files, through pydicom, which is an optional extra."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np

from dr_edge.fundus.image_header import PhotographError, check_size, read_header

_JPEG_BASELINE = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_DEFLATED = b"1.2.840.10008.1.2.1.99"  # the whole file is compressed: a kilobyte may unpack to anything
_GREY_OR_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")


def read_frame(data: bytes, *, max_pixels: int) -> np.ndarray | bytes:
    """Returns the single frame of a DICOM file: [H, W, 3] uint8 RGB, or the bytes of the JPEG that it wraps.

    Reads baseline-JPEG and uncompressed (also RLE) transfer syntaxes. More than 8 bits are mapped to 8 by the
    stored bit depth; MONOCHROME1 is inverted.

    Raises:
      PhotographError: pydicom is not installed, the file is cut off, holds no or several frames, or is
        compressed in a way that needs a decoder we do not have.
    """
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as err:
        raise PhotographError(
            "pydicom is missing", "DICOM files need it. Install it with: pip install dr_edge[dicom]"
        ) from err

    if _DEFLATED in data[:65536]:
        raise PhotographError(
            "unsupported DICOM", "a deflated DICOM may unpack to anything. Store it uncompressed, or as JPEG."
        )
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
        height, width = int(dataset.Rows), int(dataset.Columns)
        frames = int(dataset.get("NumberOfFrames") or 1)
        photometric = str(dataset.PhotometricInterpretation)
        syntax = str(dataset.file_meta.TransferSyntaxUID)
    except Exception as err:  # pydicom raises its own, struct's and zlib's errors on damaged files
        raise PhotographError("corrupt", f"the DICOM cannot be read: {type(err).__name__}: {err}") from err
    check_size(height, width, max_pixels)
    readable = photometric in _GREY_OR_COLOUR or syntax in _JPEG_BASELINE
    if frames != 1 or not readable:
        raise PhotographError(
            "unsupported DICOM",
            f"{frames} frames, {photometric}. One grey, RGB, YBR_FULL or palette frame is read.",
        )
    if "PixelData" not in dataset:
        raise PhotographError("truncated", f"the DICOM's {len(data)} bytes hold no pixel data.")
    if syntax in _JPEG_BASELINE:
        return _embedded_jpeg(dataset)
    stored = 2 if photometric == "YBR_FULL_422" else int(dataset.get("SamplesPerPixel", 1))
    needed = height * width * stored * int(dataset.BitsAllocated) // 8
    received = len(dataset.PixelData)
    if syntax in _UNCOMPRESSED and received < needed:
        raise PhotographError(
            "truncated", f"the DICOM holds {received} of {needed} bytes of its pixels. Fetch it again."
        )
    try:
        pixels = pydicom.pixels.pixel_array(dataset, as_rgb=True)  # YBR comes out as RGB
    except Exception as err:  # a missing codec is RuntimeError, short pixel data ValueError, and so on
        raise PhotographError(
            "unsupported DICOM", f"transfer syntax {syntax} cannot be decoded: {err}"
        ) from err
    return _to_rgb(pixels, dataset, photometric)


def _embedded_jpeg(dataset: Any) -> bytes:
    from pydicom.encaps import generate_frames

    try:
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    except (ValueError, StopIteration) as err:
        raise PhotographError("truncated", f"the DICOM's JPEG frame is incomplete: {err}") from err
    if read_header(frame).format != "jpeg":
        raise PhotographError("corrupt", "the DICOM says JPEG, its frame is none.")
    return frame


def _to_rgb(pixels: np.ndarray, dataset: Any, photometric: str) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    bits = int(dataset.BitsStored)
    if photometric == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
        bits = pixels.dtype.itemsize * 8
    if bits > 8:
        pixels = pixels >> (bits - 8)
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    if photometric == "MONOCHROME1":
        pixels = 255 - pixels
    return (
        cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
        if pixels.ndim == 2
        else np.ascontiguousarray(pixels[..., :3])
    )
