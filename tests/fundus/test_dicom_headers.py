"""DICOM files whose header lacks something, states what is absurd, or holds another number of frames than it says: each
is refused with a reason, none ends a run."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from dicom_files import DEFLATED, JPEG, JPEG_2000, RGB, dicom, reason

from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.photograph import decode_photograph

pydicom = pytest.importorskip("pydicom")

GREY = np.random.default_rng(1).integers(0, 4096, (40, 60)).astype(np.uint16)
RLE = "1.2.840.10008.1.2.5"


def changed(data: bytes, change: Callable[[Any], object]) -> bytes:
    """The file after `change` of its data set, which may break every rule."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    with pydicom.config.disable_value_validation():
        change(dataset)
        buffer = io.BytesIO()
        dataset.save_as(buffer)
    return buffer.getvalue()


def with_value(keyword: str, vr: str, value: object) -> Callable[[Any], object]:
    return lambda dataset: dataset.add_new(keyword, vr, value)


def without(keyword: str) -> Callable[[Any], object]:
    return lambda dataset: delattr(dataset, keyword)


def frames(count: int, stated: int | None = None) -> Callable[[Any], None]:
    def change(dataset: Any) -> None:
        dataset.PixelData = dataset.PixelData * count
        if stated is not None:
            dataset.NumberOfFrames = stated

    return change


ODD = {
    "two frames, none stated": (frames(2), "unsupported DICOM"),
    "two frames, one stated": (frames(2, 1), "unsupported DICOM"),
    "three frames, two stated": (frames(3, 2), "unsupported DICOM"),
    "a thousand frames stated": (frames(1, 10**9), "unsupported DICOM"),
    "minus one frame": (frames(1, -1), "unsupported DICOM"),
    "frames in words": (with_value("NumberOfFrames", "LO", "many"), "corrupt"),
    "no BitsAllocated": (without("BitsAllocated"), "unsupported DICOM"),
    "no BitsStored": (without("BitsStored"), "unsupported DICOM"),
    "no PixelRepresentation": (without("PixelRepresentation"), "unsupported DICOM"),
    "no PlanarConfiguration": (without("PlanarConfiguration"), "unsupported DICOM"),
    "no SamplesPerPixel": (without("SamplesPerPixel"), "unsupported DICOM"),
    "no PhotometricInterpretation": (without("PhotometricInterpretation"), "corrupt"),
    "no Rows": (without("Rows"), "corrupt"),
    "no Columns": (without("Columns"), "corrupt"),
    "no PixelData": (without("PixelData"), "truncated"),
    "empty PixelData": (with_value("PixelData", "OB", b""), "truncated"),
    "PixelData in words": (with_value("PixelData", "LT", "x" * RGB.size), "unsupported DICOM"),
    "Rows 0": (with_value("Rows", "US", 0), "too small"),
    "Columns 0": (with_value("Columns", "US", 0), "too small"),
    "Rows below 0": (with_value("Rows", "SS", -40), "too small"),
    "Rows in words": (with_value("Rows", "LO", "forty"), "corrupt"),
    "many Rows": (with_value("Rows", "US", [40, 40]), "corrupt"),
    "BitsAllocated 0": (with_value("BitsAllocated", "US", 0), "unsupported DICOM"),
    "BitsAllocated 12": (with_value("BitsAllocated", "US", 12), "truncated"),
    "BitsAllocated 4": (with_value("BitsAllocated", "US", 4), "unsupported DICOM"),
    "BitsStored 16 of 8": (with_value("BitsStored", "US", 16), "unsupported DICOM"),
    "PixelRepresentation 7": (with_value("PixelRepresentation", "US", 7), "unsupported DICOM"),
    "PlanarConfiguration 9": (with_value("PlanarConfiguration", "US", 9), "unsupported DICOM"),
    "two samples": (with_value("SamplesPerPixel", "US", 2), "unsupported DICOM"),
    "no sample": (with_value("SamplesPerPixel", "US", 0), "unsupported DICOM"),
    "empty SamplesPerPixel": (with_value("SamplesPerPixel", "US", None), "unsupported DICOM"),
    "a palette that is missing": (with_value("PhotometricInterpretation", "CS", "PALETTE COLOR"), "unsupported DICOM"),
    "a colour space of no standard": (with_value("PhotometricInterpretation", "CS", "CIELAB"), "unsupported DICOM"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_header_is_refused_with_its_reason(name):
    change, expected = ODD[name]
    assert reason(changed(dicom(RGB, "RGB"), change)) == expected


def test_what_is_not_used_may_be_absurd():
    for change in (
        with_value("WindowCenter", "LO", "middle"),
        with_value("WindowWidth", "DS", "-1"),
        with_value("PixelAspectRatio", "IS", [0, 0]),
        with_value("SpecificCharacterSet", "CS", "ISO_IR 9999"),
        lambda dataset: setattr(dataset, "PixelData", dataset.PixelData + bytes(64)),  # padding is no frame
    ):
        np.testing.assert_array_equal(decode_photograph(changed(dicom(RGB, "RGB"), change)), RGB)


def compressed(pixels: np.ndarray) -> bytes:
    """The picture as RLE."""
    dataset = pydicom.dcmread(io.BytesIO(dicom(pixels, "RGB")))
    dataset.compress(RLE)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def jpeg_frames(count: int, size: tuple[int, int] = (40, 60)) -> bytes:
    """A DICOM of 40 rows and 60 columns with `count` JPEGs of another size inside."""
    import cv2
    from pydicom.encaps import encapsulate

    jpeg = cv2.imencode(".jpg", np.full((*size, 3), 90, np.uint8))[1].tobytes()
    return dicom(RGB, "YBR_FULL_422", syntax=JPEG, data=encapsulate([jpeg] * count))


def test_compressed_frames_are_counted_too():
    from pydicom.encaps import encapsulate, generate_frames

    rle = compressed(RGB)
    np.testing.assert_array_equal(decode_photograph(rle), RGB)
    (frame,) = generate_frames(pydicom.dcmread(io.BytesIO(rle)).PixelData, number_of_frames=1)
    twice = changed(rle, with_value("PixelData", "OB", encapsulate([frame, frame])))
    assert reason(twice) == "unsupported DICOM"
    assert decode_photograph(jpeg_frames(1)).shape == (40, 60, 3)
    assert reason(jpeg_frames(2)) == "unsupported DICOM"


def test_rle_that_unpacks_to_more_than_its_picture_is_refused_unread(monkeypatch):
    from pydicom.encaps import encapsulate

    whole = compressed(RGB)
    monkeypatch.setattr("pydicom.pixels.pixel_array", None)
    segments = b"\x81\0" * 30_000  # each pair stands for 128 bytes
    bomb = struct.pack("<16I", 3, 64, 66, 68, *[0] * 12) + b"\0\0" * 2 + segments
    assert reason(changed(whole, with_value("PixelData", "OB", encapsulate([bomb])))) == "unsupported DICOM"
    assert reason(changed(whole, with_value("ExtendedOffsetTable", "OV", bytes(8)))) == "unsupported DICOM"


def test_the_jpeg_inside_has_the_size_that_is_stated():
    assert reason(jpeg_frames(1, (60, 40))) == "corrupt"
    assert reason(jpeg_frames(1, (400, 600)), max_pixels=10_000) == "corrupt"


def deflated(padding: int) -> bytes:
    """A deflated DICOM whose transfer syntax stands behind an element of `padding` bytes."""
    version = struct.pack("<HH2sHI", 2, 1, b"OB", 0, padding) + bytes(padding)
    syntax = struct.pack("<HH2sH", 2, 0x10, b"UI", len(DEFLATED)) + DEFLATED.encode()
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return bytes(128) + b"DICM" + version + syntax + deflate.compress(bytes(1 << 20)) + deflate.flush()


@pytest.mark.parametrize("padding", [2, 70_000])
def test_a_deflated_file_is_refused_unread_wherever_it_says_so(padding, monkeypatch):
    monkeypatch.setattr("pydicom.dcmread", None)  # it would inflate all of it
    assert reason(deflated(padding)) == "unsupported DICOM"


def test_the_words_of_a_deflated_file_in_another_do_not_matter():
    named = changed(dicom(RGB, "RGB"), with_value("InstitutionName", "LO", DEFLATED))
    np.testing.assert_array_equal(decode_photograph(named), RGB)


def test_jpeg_2000_is_refused_unread(monkeypatch):
    # Pillow, where it is installed, would decode a codestream of any size.
    from pydicom.encaps import encapsulate

    monkeypatch.setattr("pydicom.dcmread", None)
    for photometric in ("MONOCHROME2", "RGB"):
        assert reason(dicom(RGB, photometric, syntax=JPEG_2000, data=encapsulate([bytes(100)]))) == "unsupported DICOM"


KEYWORDS = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated")
KEYWORDS += ("BitsStored", "HighBit", "PixelRepresentation", "NumberOfFrames", "PixelData", "WindowCenter")
VALUES = [("US", number) for number in (0, 1, 2, 3, 8, 15, 16, 17, 64, 65535, None, [1, 2])]
VALUES += [
    ("SS", -1),
    ("FD", float("nan")),
    ("LO", "words"),
    ("CS", "RGB"),
    ("CS", "PALETTE COLOR"),
    ("IS", "99999999999"),
]
VALUES += [("OB", b"\1\2"), ("SQ", []), ("UN", b"\xff" * 7)]


@pytest.mark.parametrize("base", ["rgb", "grey", "rle", "jpeg"])
@pytest.mark.parametrize("keyword", KEYWORDS)
def test_no_attribute_makes_another_error(base, keyword):
    bases = {"rgb": lambda: dicom(RGB, "RGB"), "grey": lambda: dicom(GREY, "MONOCHROME1", bits=12)}
    data = (bases | {"rle": lambda: compressed(RGB), "jpeg": lambda: jpeg_frames(1)})[base]()
    changes = [with_value(keyword, vr, value) for vr, value in VALUES]
    if keyword in pydicom.dcmread(io.BytesIO(data)):
        changes.append(without(keyword))
    for change in changes:
        try:
            odd = changed(data, change)
        except Exception:  # noqa: BLE001 - pydicom cannot write that one
            continue
        try:
            image = decode_photograph(odd, max_pixels=1_000_000)
        except PhotographError as error:
            assert error.reason and len(error.reason) < 30
        else:
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and min(image.shape[:2]) >= 16
