"""From stored values of a DICOM frame to 8 bits: rescale, window and VOI LUT through pydicom, of grey pictures only.

The standard defines them for no colour picture, and pydicom refuses them there. Where the values' range of display is
not stated, the picture is refused: it might come out black, or inverted.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dr_edge.fundus.header_types import PhotographError

_MAX_BITS = 16
_MAX_TABLES = 1 << 20  # bytes: eight of 16 bits


def check_attributes(dataset: Any) -> None:
    """Raises PhotographError where values do not lie in the lowest bits, or pixels are not square.

    Errors of pydicom on absurd attributes pass through.
    """
    for name in ("VOILUTSequence", "ModalityLUTSequence"):  # before they are unpacked: each of 8 bytes takes 700
        if name in dataset and getattr(dataset.get_item(name), "length", 0) > _MAX_TABLES:
            _refuse(f"look-up tables of more than {_MAX_TABLES} bytes. Store 8 bits")
    bits, high = int(dataset.BitsStored), dataset.get("HighBit")
    if high is not None and int(high) != bits - 1:
        _refuse(f"the highest bit is {high} of {bits} bits stored. Store the values in the lowest bits")
    aspect = dataset.get("PixelAspectRatio")
    try:
        down, across = (int(value) for value in aspect) if aspect else (1, 1)
    except (TypeError, ValueError):
        return
    if down > 0 and across > 0 and down != across:
        _refuse(f"its pixels are not square ({down}:{across}). Store square pixels")


def eight_bits(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Returns unsigned values of `bits` bits as uint8, of which fewer than 8 bits are spread and more are cut.

    Raises:
      PhotographError: more than 8 bits are stated and two fewer would do: a nearly black picture.
    """
    if bits <= 8:
        return pixels.astype(np.uint8) if bits == 8 else np.rint(pixels * (255 / (2**bits - 1))).astype(np.uint8)
    _check_brightness(int(pixels.max()), bits)
    return (pixels >> (bits - 8)).astype(np.uint8)


def grey_levels(pixels: np.ndarray, dataset: Any, photometric: str) -> np.ndarray:
    """Returns the values of a grey frame, [H, W] integers, as uint8 levels of display, 0 black."""
    bits = int(dataset.BitsStored)
    lowest = _lowest(dataset, bits)
    if bits > 8 and not _has_voi(dataset):
        _check_brightness(int(pixels.max()), bits)
    table = grey_table(dataset, photometric, bits)
    if table is None:
        table = np.arange(256, dtype=np.uint8)
    return table[pixels.astype(np.int32) - lowest]


def grey_table(dataset: Any, photometric: str, bits: int) -> np.ndarray | None:
    """Returns what becomes of each value of a grey frame, [2 ** bits] uint8 from the lowest on; None for no change.

    Raises:
      PhotographError: rescaled or signed values without a window: which are black and white is not stated.
      ValueError, TypeError, AttributeError, IndexError: pydicom's, of absurd windows and tables.
    """
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    if not 1 <= bits <= _MAX_BITS:
        _refuse(f"{bits} bits stored. 1 to {_MAX_BITS} are read")
    lowest = _lowest(dataset, bits)
    slope, intercept = float(dataset.get("RescaleSlope") or 1), float(dataset.get("RescaleIntercept") or 0)
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope > 0):
        _refuse(f"rescale slope {slope:g}, intercept {intercept:g}. Store the values as they are shown")
    if dataset.get("PresentationLUTShape") == "INVERSE" and photometric == "MONOCHROME2":
        _refuse("MONOCHROME2, and an inverse presentation. Which is black? Store it as RGB")
    values = np.arange(lowest, lowest + 2**bits)
    if _has_voi(dataset):
        if "ModalityLUTSequence" in dataset or slope != 1 or intercept != 0:
            values = apply_modality_lut(values, dataset)
        low, high = _shown_range(dataset, bits, lowest, slope, intercept)
        shown = (np.asarray(apply_voi_lut(values, dataset), np.float64) - low) / (high - low)
        table = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)
    elif "ModalityLUTSequence" in dataset or slope != 1 or intercept != 0 or lowest:
        _refuse(
            "rescaled or signed values without a window: which are black and white is not stated. Store 8 bits, or a "
            "window"
        )
    else:
        table = eight_bits(values, bits)
    if photometric == "MONOCHROME1":
        table = 255 - table
    return None if bits == 8 and np.array_equal(table, values) else table


def _has_voi(dataset: Any) -> bool:
    return bool(dataset.get("VOILUTSequence")) or ("WindowCenter" in dataset and "WindowWidth" in dataset)


def _lowest(dataset: Any, bits: int) -> int:
    return -(2 ** (bits - 1)) if int(dataset.PixelRepresentation) == 1 else 0


def _shown_range(dataset: Any, bits: int, lowest: int, slope: float, intercept: float) -> tuple[float, float]:
    """Returns the values that pydicom's window or LUT gives for black and white."""
    if sequence := dataset.get("VOILUTSequence"):
        return 0.0, 2.0 ** int(sequence[0].LUTDescriptor[2]) - 1
    if sequence := dataset.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** int(sequence[0].LUTDescriptor[2]) - 1
    return lowest * slope + intercept, (lowest + 2**bits - 1) * slope + intercept


def _check_brightness(brightest: int, bits: int) -> None:
    if 0 < brightest < 2 ** (bits - 2):
        used = max(8, brightest.bit_length())
        _refuse(
            f"{bits} bits are stated, and no value needs more than {used}: it would come out nearly black. State {used}"
        )


def _refuse(what: str) -> None:
    raise PhotographError("unsupported DICOM", f"{what}.")
