"""Ophthalmic photographs in DICOM files, through pydicom, which is an optional extra."""

from __future__ import annotations

import io
import itertools
import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from dr_edge import extras
from dr_edge.fundus.dicom_jpeg import with_colours
from dr_edge.fundus.dicom_values import check_attributes, eight_bits, grey_levels, grey_table
from dr_edge.fundus.header_types import PhotographError, check_size
from dr_edge.fundus.image_header import read_header
from dr_edge.fundus.packbits import unpacked_length

_JPEG_BASELINE = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_RLE = "1.2.840.10008.1.2.5"
_DEFLATED = "1.2.840.10008.1.2.1.99"  # the whole data set is compressed: a kilobyte may unpack to anything
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422")
_GREY = ("MONOCHROME1", "MONOCHROME2")
_MAX_ELEMENTS = 20_000  # those of items counted; photographs have some hundred
_LONGEST = (1 << 16) - 2  # bytes of such an attribute, where its length is stated in two
_LISTS = ("AT", "CS", "DS", "FD", "FL", "IS", "LO", "SH", "SL", "SS", "UI", "UL", "US", "US or SS")
_READ_BYTES = 4096  # what is compressed is read by 8 kB
_READABLE = (*_COLOUR, *_GREY, "PALETTE COLOR")


@dataclass(frozen=True)
class EmbeddedJpeg:
    """The JPEG that a DICOM file wraps.

    Attributes:
      data: the JPEG, changed so that decoders take its colours as the DICOM states them.
      table: [256] uint8, what becomes of its decoded grey levels; None where they stay.
    """

    data: bytes
    table: np.ndarray | None = None


def read_frame(data: bytes, *, max_pixels: int) -> np.ndarray | EmbeddedJpeg:
    """Returns the single frame of a DICOM file: [H, W, 3] uint8 RGB, or the JPEG that it wraps.

    Reads baseline-JPEG and uncompressed (also RLE) transfer syntaxes, as pydicom does: `pixel_array`, rescale, window
    or VOI LUT of grey pictures, then 8 bits of the range that these leave (see `dicom_values.py`); MONOCHROME1 is
    inverted.

    Raises:
      PhotographError: pydicom is not installed, the file is cut off, holds no or several frames, lacks what a
        decoder must know of it, contradicts itself, or is compressed in a way that needs a decoder we do not have.
    """
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as err:
        install = extras.install("dicom")
        raise PhotographError("pydicom is missing", f"DICOM files need it. Install it with: {install}") from err

    try:
        syntax = _transfer_syntax(data)
        _check_syntax(syntax)  # before `dcmread`, which unpacks a deflated data set whole
        dataset = pydicom.dcmread(_Counted(data))
        _check_lengths(dataset)
        height, width = int(dataset.Rows), int(dataset.Columns)
        frames = int(dataset.get("NumberOfFrames") or 1)
        photometric = str(dataset.PhotometricInterpretation)
        content = dataset.get("PixelData")
    except PhotographError:
        raise
    except Exception as err:  # pydicom raises its own, struct's and zlib's errors on damaged files
        raise PhotographError("corrupt", f"the DICOM cannot be read: {type(err).__name__}: {err}") from err
    check_size(height, width, max_pixels)
    if frames != 1 or photometric not in _READABLE:
        raise PhotographError(
            "unsupported DICOM",
            f"{frames} frames, {photometric}. One frame of {', '.join(_READABLE)} is read.",
        )
    if content is None and ("FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset):
        raise PhotographError("unsupported DICOM", "floating point pixels. Store 8 or 16 bits.")
    if not content:
        raise PhotographError("truncated", f"the DICOM's {len(data)} bytes hold no pixel data.")
    try:
        if syntax in _JPEG_BASELINE:
            return _embedded_jpeg(dataset, _only_frame(content), photometric, (height, width))
        check_attributes(dataset)
        if syntax == _RLE:
            _check_rle(dataset, content, height * width)
        else:
            _check_length(len(content), height * width * _bits_per_pixel(dataset, photometric) // 8)
        rgb = _to_rgb(dataset, photometric)
    except PhotographError:
        raise
    except Exception as err:  # what is missing is AttributeError, what is absurd ValueError, TypeError and so on
        raise PhotographError("unsupported DICOM", f"the pixels cannot be read: {type(err).__name__}: {err}") from err
    if rgb.shape != (height, width, 3) or rgb.dtype != np.uint8:
        raise PhotographError(
            "unsupported DICOM",
            f"the pixels are {rgb.dtype} {rgb.shape}, {width}x{height} RGB were stated. Store one frame of 8 bits.",
        )
    return rgb


class _Counted(io.BytesIO):
    """The bytes of a file, for a reader that keeps 700 bytes for each element of 8, and reads once for each."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = _MAX_ELEMENTS + len(data) // _READ_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise PhotographError(
                "unsupported DICOM", f"more than {_MAX_ELEMENTS} elements beside its pixels. Store the picture alone."
            )
        return super().read(size)


def _transfer_syntax(data: bytes) -> str:
    """Returns the UID by which `dcmread` will read the data set: from its own reader, which stops before that."""
    from pydicom import filereader

    file = _Counted(data)
    filereader.read_preamble(file, force=False)
    return str(filereader._read_file_meta_info(file).TransferSyntaxUID)


def _check_lengths(dataset: Any) -> None:
    """Raises PhotographError where an attribute would unpack to a long list: each number of two bytes takes 300."""
    from pydicom.datadict import dictionary_VR

    for element in dataset.values():  # as they are stored
        if getattr(element, "length", 0) <= _LONGEST:
            continue
        try:
            kind = dictionary_VR(element.tag)
        except KeyError:  # a private one, which nobody asks for
            continue
        if kind in _LISTS:
            raise PhotographError(
                "unsupported DICOM", f"an attribute of {element.length} bytes. Store the picture alone."
            )


def _check_syntax(syntax: str) -> None:
    if syntax == _DEFLATED:
        raise PhotographError(
            "unsupported DICOM", "a deflated DICOM may unpack to anything. Store it uncompressed, or as JPEG."
        )
    # A JPEG 2000 decoder, where pydicom finds one, takes the size from the codestream, which may be any.
    if syntax not in (*_JPEG_BASELINE, *_UNCOMPRESSED, _RLE):
        raise PhotographError(
            "unsupported DICOM", f"it is compressed by {_name(syntax)}. Store it uncompressed, or as baseline JPEG."
        )


def _name(syntax: str) -> str:
    from pydicom.uid import UID

    uid = UID(syntax)
    if not uid.is_valid:
        return "what is no transfer syntax"
    return f"{uid.name} ({syntax})" if uid.name != syntax else syntax


def _bits_per_pixel(dataset: Any, photometric: str) -> int:
    stored = 2 if photometric == "YBR_FULL_422" else int(dataset.get("SamplesPerPixel", 1))
    return stored * int(dataset.BitsAllocated)


def _check_length(received: int, needed: int) -> None:
    """Raises PhotographError unless `received` bytes are one uncompressed frame of `needed` bytes, and padding."""
    if received < needed:
        raise PhotographError(
            "truncated", f"the DICOM holds {received} of {needed} bytes of its pixels. Fetch it again."
        )
    if received >= 2 * needed:
        raise PhotographError(
            "unsupported DICOM", f"the pixels take {received} bytes, one frame {needed}. Store one frame."
        )


def _only_frame(content: bytes) -> bytes:
    """Returns the one compressed frame that encapsulated pixel data hold."""
    from pydicom.encaps import generate_frames

    if len(content) >= 8 and struct.unpack_from("<I", content, 4)[0] > _LONGEST:  # offsets of 16,000 frames
        raise PhotographError("unsupported DICOM", "its table of frames is for many. Store one frame.")
    try:
        frames = list(itertools.islice(generate_frames(content, number_of_frames=1), 2))
    except ValueError as err:
        raise PhotographError("truncated", f"the DICOM's compressed frame is incomplete: {err}") from err
    if len(frames) != 1:
        raise PhotographError("unsupported DICOM", "more frames are stored than its header states. Store one frame.")
    return frames[0]


def _check_rle(dataset: Any, content: bytes, pixels: int) -> None:
    """Raises PhotographError where a segment unpacks to two frames or more: pydicom unpacks it whole, then looks."""
    if "ExtendedOffsetTable" in dataset:  # pydicom would take the frame from there
        raise PhotographError("unsupported DICOM", "one RLE frame needs no extended offsets. Store it without.")
    frame = _only_frame(content)
    count, *starts = struct.unpack_from("<16I", frame)
    for start, end in itertools.pairwise([*starts[:count], len(frame)]):
        unpacked = unpacked_length(frame[start:end], 2 * pixels)
        if unpacked >= 2 * pixels:
            raise PhotographError("unsupported DICOM", f"an RLE segment holds more than its {pixels} pixels.")


def _embedded_jpeg(dataset: Any, frame: bytes, photometric: str, size: tuple[int, int]) -> EmbeddedJpeg:
    header = read_header(frame)
    if header.format != "jpeg":
        raise PhotographError("corrupt", "the DICOM says JPEG, its frame is none.")
    if (header.height, header.width) != size:
        raise PhotographError(
            "corrupt", f"the DICOM states {size[1]}x{size[0]}, its JPEG {header.width}x{header.height}."
        )
    samples = int(dataset.get("SamplesPerPixel") or 0)
    if (
        header.channels != (3 if photometric in _COLOUR else 1)
        or samples != header.channels
        or photometric == "PALETTE COLOR"
    ):
        raise PhotographError(
            "unsupported DICOM",
            f"{photometric} of {samples} samples, its JPEG has {header.channels}. Store RGB or grey.",
        )
    check_attributes(dataset)
    if photometric in _GREY:
        return EmbeddedJpeg(with_colours(frame, None), grey_table(dataset, photometric, 8))
    return EmbeddedJpeg(with_colours(frame, photometric == "RGB"))


def _to_rgb(dataset: Any, photometric: str) -> np.ndarray:
    """Returns the pixels as RGB; where the data set is absurd, whatever array or error comes of it."""
    from pydicom.pixels import apply_color_lut, pixel_array

    bits = int(dataset.BitsStored)
    pixels = pixel_array(dataset, as_rgb=True, allow_excess_frames=False)  # YBR comes out as RGB
    if photometric in _GREY:
        return cv2.cvtColor(grey_levels(pixels, dataset, photometric), cv2.COLOR_GRAY2RGB)
    if int(dataset.PixelRepresentation) != 0 or (photometric != "RGB" and bits != 8 and photometric in _COLOUR):
        raise PhotographError(
            "unsupported DICOM", f"signed {photometric}, or {photometric} of {bits} bits. Store 8-bit RGB."
        )
    if photometric == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
        bits = pixels.dtype.itemsize * 8
    return np.ascontiguousarray(eight_bits(pixels, bits)[..., :3])
