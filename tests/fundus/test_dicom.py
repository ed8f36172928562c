"""DICOM photographs: grey, colour, 12 bit, a JPEG inside, cut off, and pydicom not there."""

import builtins

import cv2
import numpy as np
import pytest
from dicom_files import DEFLATED, JPEG, JPEG_2000, RGB, dicom, reason

from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.photograph import decode_photograph


def test_rgb_comes_back_exactly():
    np.testing.assert_array_equal(decode_photograph(dicom(RGB, "RGB")), RGB)


def test_a_deflated_file_is_refused_unread(monkeypatch):
    bomb = dicom(np.zeros((2000, 2000), np.uint8), "MONOCHROME2", syntax=DEFLATED)
    monkeypatch.setattr("pydicom.dcmread", None)  # it would inflate all of it
    with pytest.raises(PhotographError, match="may unpack to anything") as caught:
        decode_photograph(bomb)
    assert caught.value.reason == "unsupported DICOM"


def test_ybr_is_converted():
    ybr = cv2.cvtColor(RGB, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    assert np.abs(decode_photograph(dicom(ybr, "YBR_FULL")).astype(int) - RGB).mean() < 2


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_twelve_bit_grey_becomes_eight(photometric):
    grey = np.random.default_rng(1).integers(0, 4096, (40, 60)).astype(np.uint16)
    expected = (grey >> 4).astype(np.uint8)
    if photometric == "MONOCHROME1":
        expected = 255 - expected
    decoded = decode_photograph(dicom(grey, photometric, bits=12))
    np.testing.assert_array_equal(decoded, np.dstack([expected] * 3))


def test_the_jpeg_inside_is_decoded():
    pytest.importorskip("pydicom")
    from pydicom.encaps import encapsulate

    jpeg = cv2.imencode(".jpg", cv2.GaussianBlur(RGB, (0, 0), 4))[1].tobytes()
    data = dicom(RGB, "YBR_FULL_422", syntax=JPEG, data=encapsulate([jpeg]))
    np.testing.assert_array_equal(decode_photograph(data), decode_photograph(jpeg))
    cut = dicom(RGB, "YBR_FULL_422", syntax=JPEG, data=encapsulate([jpeg[:-100]]))
    assert reason(cut) == "truncated"


def test_what_cannot_be_read_is_refused():
    from pydicom.encaps import encapsulate

    whole = dicom(RGB, "RGB")
    assert reason(whole[:-100]) == "truncated"
    assert reason(whole[:300]) in ("corrupt", "truncated")
    assert reason(whole, max_pixels=1000) == "too many pixels"
    compressed = dicom(RGB, "YBR_RCT", syntax=JPEG_2000, data=encapsulate([b"\xff\x4f\xff\x51" * 8]))
    assert reason(compressed) == "unsupported DICOM"


def test_without_pydicom_the_error_says_what_to_install(monkeypatch):
    genuine = builtins.__import__

    def without_pydicom(name, *args, **kwargs):
        if name.split(".")[0] == "pydicom":
            raise ImportError(name)
        return genuine(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pydicom)
    with pytest.raises(PhotographError, match=r'pip install "dr_edge\[dicom\]"'):
        decode_photograph(bytes(128) + b"DICM" + bytes(100))
