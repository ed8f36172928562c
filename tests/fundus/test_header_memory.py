"""No header takes more memory than its file is large, in our readers and in the libraries that decode afterwards; and
none takes long.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from crafted_files import MIB, PICTURE, SIDE, dicoms, heics, jpegs_and_webps, pngs, tiff, tiffs
from dicom_files import JPEG, dicom

from dr_edge.fundus import lzw
from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.image_header import read_header
from dr_edge.fundus.jpeg_scans import MAX_SCANS
from dr_edge.fundus.photograph import decode_photograph

Image = pytest.importorskip("PIL.Image")

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
# Decodes each file in a process of its own; prints the peak of its memory above that of the start, CPU, and what came.
MEASURE = """
import json, os, resource, sys, time
import cv2, pydicom, pydicom.pixels, pi_heif
from dr_edge.fundus import dicom, heic, photograph, tiff

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) << 10

cv2.setNumThreads(1)
photograph.decode(open(sys.argv[1], "rb").read())
for path in sys.argv[2:]:
    data = open(path, "rb").read()
    if os.fork() == 0:
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        before, start = peak(), time.process_time()
        try:
            photograph.decode(data)
            said = "read"
        except photograph.PhotographError as err:
            said = err.reason
        print(json.dumps([peak() - before, time.process_time() - start, said]), flush=True)
        os._exit(0)
    os.wait()
"""


def measured(tmp_path: Path, files: dict[str, bytes]) -> dict[str, tuple[int, float, str]]:
    """Name -> (bytes above the start, CPU seconds, how it was refused)."""
    first = tmp_path / "first"
    first.write_bytes(cv2.imencode(".png", PICTURE)[1].tobytes())
    paths = []
    for number, data in enumerate(files.values()):
        (tmp_path / str(number)).write_bytes(data)
        paths.append(str(tmp_path / str(number)))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(first), *paths], capture_output=True, text=True, timeout=500
    )
    rows = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
    assert len(rows) == len(files), done.stderr[-2000:]
    return dict(zip(files, rows, strict=True))


@LINUX
@pytest.mark.parametrize("made", [tiffs, pngs, jpegs_and_webps, dicoms, heics])
def test_no_header_takes_more_memory_than_the_file_is_large(made: Callable[[], dict[str, bytes]], tmp_path: Path):
    """4,000 tags of a TIFF of 1 MB that point to the same bytes took 4 GB in libtiff; 400 texts of a PNG, 13 s."""
    if made is heics:
        pytest.importorskip("pi_heif")
    pytest.importorskip("pydicom")
    files = made()
    for name, (peak, seconds, said) in measured(tmp_path, files).items():
        # A forked process maps the pages of libraries anew, some machines 20 MiB of them; the faults took gigabytes.
        assert peak < 2 * len(files[name]) + 40 * MIB, f"{name}: {peak / MIB:.0f} MiB, {said}"
        assert seconds < 3, f"{name}: {seconds:.1f} s, {said}"


def test_small_tags_that_share_their_bytes_are_read():
    """Some writers store both resolutions once."""
    data = tiff([(282, 5, 1), (283, 5, 1)], 12_000)
    assert decode_photograph(data).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize(
    "changed",
    [
        {"t278": (4, 1, 0)}, {"t278": (4, 1, 10)}, {"t322": (4, 1, 0), "t323": (4, 1, 16)},
        {"t322": (4, 1, 16), "t323": (4, 1, 16)},
    ],
)  # fmt: skip
def test_a_tiff_of_fewer_strips_than_rows_need_is_refused(changed):
    """Decoders fill what is not there."""
    with pytest.raises(PhotographError) as caught:
        decode_photograph(tiff([], 12_000, **changed))
    assert caught.value.reason in ("truncated", "corrupt")


def test_profiles_and_texts_of_a_png_change_no_pixel():
    buffer = io.BytesIO()
    from PIL import ImageCms, PngImagePlugin

    texts = PngImagePlugin.PngInfo()
    texts.add_text("a", "b" * 999, zip=True)
    texts.add_itxt("c", "d" * 999, zip=True)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for image in (PICTURE, np.dstack([PICTURE, PICTURE[..., 0]])):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG", icc_profile=profile, pnginfo=texts)
        assert all(name in buffer.getvalue() for name in (b"zTXt", b"iTXt", b"iCCP"))
        plain = io.BytesIO()
        Image.fromarray(image).save(plain, "PNG")
        np.testing.assert_array_equal(decode_photograph(buffer.getvalue()), decode_photograph(plain.getvalue()))


def scans(count: int) -> bytes:
    """A progressive JPEG with so many scans: its ten, of which the last is repeated."""
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    starts = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    return data[:-2] + data[starts[-1] : -2] * (count - len(starts)) + data[-2:]


def test_a_jpeg_of_many_scans_is_refused_however_it_is_wrapped():
    assert read_header(scans(MAX_SCANS)).format == "jpeg"
    trailer = b"camera" + b"\xff\xda" * 500  # behind the picture anything may stand, and in its segments
    segment = b"\xff\xe9" + struct.pack(">H", 1002) + b"\xff\xda" * 500
    plain = scans(10)
    for data in (plain, plain + trailer, plain[:2] + segment + plain[2:]):
        assert decode_photograph(data).shape == PICTURE.shape
    many = scans(MAX_SCANS + 1)
    wrapped = tiff_of_jpeg(many)
    assert decode_photograph(tiff_of_jpeg(plain)).shape == PICTURE.shape
    for data in (many, many + trailer, many[:2] + b"\xff\xff" + many[2:], many + b"\0\0", wrapped):
        with pytest.raises(PhotographError) as caught:
            decode_photograph(data)
        assert caught.value.reason == "too many scans" and "Save it anew" in caught.value.detail


def test_a_strip_that_is_a_larger_jpeg_is_not_decoded():
    vast = cv2.imencode(".jpg", np.zeros((9000, 9000, 3), np.uint8))[1].tobytes()
    with pytest.raises(PhotographError, match="damaged TIFF data"):
        decode_photograph(tiff_of_jpeg(vast))


def test_the_table_of_frames_of_a_dicom_is_for_one():
    pytest.importorskip("pydicom")
    from pydicom.encaps import encapsulate

    jpeg = cv2.imencode(".jpg", PICTURE)[1].tobytes()
    whole = encapsulate([jpeg])
    assert decode_photograph(dicom(PICTURE, "YBR_FULL_422", syntax=JPEG, data=whole)).shape == PICTURE.shape
    many = whole[:4] + struct.pack("<I", 400_000) + bytes(400_000) + whole[12:]
    with pytest.raises(PhotographError, match="its table of frames is for many"):
        decode_photograph(dicom(PICTURE, "YBR_FULL_422", syntax=JPEG, data=many))


def tiff_of_jpeg(jpeg: bytes) -> bytes:
    """A TIFF of one strip, which is a JPEG."""
    tags = [
        (256, 3, 1, 64), (257, 3, 1, 64), (258, 3, 1, 8), (259, 3, 1, 7), (262, 3, 1, 6), (277, 3, 1, 3),
        (278, 3, 1, 64), (530, 3, 2, 2 | 2 << 16),
    ]  # fmt: skip
    start = 8 + 2 + 12 * (len(tags) + 2) + 4
    tags = sorted([*tags, (273, 4, 1, start), (279, 4, 1, len(jpeg))])
    rows = b"".join(struct.pack("<HHII", *row) for row in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + bytes(4) + jpeg


def test_an_lzw_strip_of_clear_codes_alone_is_no_picture():
    """Each was looked at for 50 microseconds."""
    bits = "100000000" * 40_000 + "100000001"
    stream = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    assert lzw.unpacked_length(stream, 10_000_000) == -1
