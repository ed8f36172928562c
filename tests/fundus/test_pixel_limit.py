"""The limit on pixels cannot be got round: files that say one size to the header's reader, another to the decoder."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from dr_edge.fundus import photograph
from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.image_header import read_header
from dr_edge.fundus.photograph import decode_photograph, decode_scaled

Image = pytest.importorskip("PIL.Image")

LIMIT = 1_000_000
LARGE, SMALL = (1281, 1717), (100, 100)  # rows, columns


def jpeg(size: tuple[int, int], **options) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size[::-1], (90, 60, 30)).save(buffer, "JPEG", quality=30, **options)
    return buffer.getvalue()


def frame_segment(data: bytes) -> bytes:
    """The start-of-frame segment of a baseline JPEG."""
    start = data.index(b"\xff\xc0")
    return data[start : start + 2 + struct.unpack_from(">H", data, start + 2)[0]]


def reason(data: bytes, **options) -> str:
    with pytest.raises(PhotographError) as caught:
        decode_scaled(data, **options)
    return caught.value.reason


@pytest.mark.parametrize("min_side", [None, 100])
@pytest.mark.parametrize("tail", [b"\xff\xd9x", b"\xff\xd9"])
def test_a_second_frame_header_does_not_hide_the_first(min_side, tail):
    small = frame_segment(jpeg(SMALL))
    hidden = jpeg(LARGE)[:-2] + small + tail
    assert reason(hidden, max_pixels=LIMIT, min_side=min_side) in ("corrupt", "too many pixels")
    before = jpeg(LARGE)
    at = before.index(b"\xff\xc0")
    assert reason(before[:at] + small + before[at:], max_pixels=LIMIT, min_side=min_side) == "corrupt"
    # The same where the limit would allow it.
    assert reason(jpeg(SMALL)[:-2] + small + b"\xff\xd9x") == "corrupt"


@pytest.mark.parametrize("marker", [0x00, 0x01, 0xD0, 0xD7])
def test_a_marker_without_a_length_does_not_hide_a_picture(marker):
    # libjpeg takes FF 01 alone, then FF E0 and the large picture. Read as a length, FF E0 skips all of it.
    hidden = jpeg(LARGE)[2:]
    assert hidden.startswith(b"\xff\xe0") and len(hidden) < 0xFFE0
    data = b"\xff\xd8\xff" + bytes([marker]) + hidden.ljust(0xFFE0, b"\0") + jpeg(SMALL)[2:]
    assert reason(data, max_pixels=LIMIT) == "corrupt"


def test_thumbnails_and_second_pictures_are_no_second_frame():
    thumbnail = jpeg((16, 16))
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 8) + b"Exif\0\0" + thumbnail
    for options in ({}, {"progressive": True}):
        data = jpeg(SMALL, **options)
        assert decode_photograph(data[:2] + segment + data[2:]).shape == (*SMALL, 3)
        for tail in (b"", b"\0" * 9, b"a camera's trailer"):
            assert decode_photograph(data + jpeg(LARGE) + tail).shape == (*SMALL, 3)
    buffer = io.BytesIO()
    first, second = Image.new("RGB", (120, 80)), Image.new("RGB", (60, 40))
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    assert decode_photograph(buffer.getvalue()).shape == (80, 120, 3)


def tiff(*tags: tuple[int, int, int], body: bytes) -> bytes:
    """A TIFF of one directory: (tag, type, value) in the order given, its grey picture data behind it."""
    common = [(258, 3, 8), (259, 3, 1), (262, 3, 1), (277, 3, 1)]
    entries = sorted([*tags, *common], key=lambda entry: entry[0])  # a stable sort keeps the order of a doubled tag
    start = 8 + 2 + 12 * (len(entries) + 2) + 4
    places = (324, 325) if any(tag == 322 for tag, _, _ in tags) else (273, 279)
    entries = sorted([*entries, (places[0], 4, start), (places[1], 4, len(body))], key=lambda entry: entry[0])
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4) + body


def test_a_doubled_tiff_tag_does_not_hide_the_first():
    body = bytes(LARGE[0] * LARGE[1])
    whole = tiff((256, 4, LARGE[1]), (257, 4, LARGE[0]), body=body)
    assert decode_photograph(whole).shape == (*LARGE, 3)
    assert reason(whole, max_pixels=LIMIT) == "too many pixels"
    for kind in (4, 9):  # 9 is a signed long, which libtiff takes too
        doubled = tiff((256, kind, LARGE[1]), (256, 4, 100), (257, kind, LARGE[0]), (257, 4, 100), body=body)
        assert reason(doubled, max_pixels=LIMIT) == "corrupt"
    assert reason(tiff((256, 4, 100), (256, 4, 100), (257, 4, 100), body=body)) == "corrupt"


def pointing(tags: Sequence[int], size: int, pages: int = 1) -> bytes:
    """A TIFF of pages whose tags all point to the same bytes of the file."""
    head, step = b"II*\0" + struct.pack("<I", 8), 2 + 12 * (len(tags) + 2) + 4
    for page in range(pages):
        entries = [(256, 4, 1, 100), (257, 4, 1, 100), *((tag, 3, size // 8, 8) for tag in tags)]
        head += struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
        head += struct.pack("<I", 8 + (page + 1) * step if page + 1 < pages else 0)
    return head.ljust(size, b"\x7f")


@pytest.mark.parametrize(
    ("tags", "pages", "word"),
    [(range(400, 1200), 1, "corrupt"), ((273, 279, 324, 325, 330), 1, "corrupt"), ((273,), 60, "corrupt")],
)
def test_tiff_tags_that_share_their_values_take_no_more_memory_than_the_file_allows(tags, pages, word):
    """800 tags of a file of 0.4 MB took 320 MB."""
    data = pointing(tags, 400_000, pages)
    tracemalloc.start()
    try:
        with pytest.raises(PhotographError, match=word):
            read_header(data)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data)
    finally:
        tracemalloc.stop()


def test_an_exif_whose_tags_share_their_values_takes_no_memory():
    """Pillow's reader takes 6 GB for it."""
    tiff_ = (
        b"MM\0*"
        + struct.pack(">IH", 8, 20_000)
        + b"".join(struct.pack(">HHII", 0x8000 + n, 1, 250_000, 0) for n in range(20_000))
    )
    exif = b"eXIf" + tiff_.ljust(300_000, b"\0")
    png = cv2.imencode(".png", np.zeros((*SMALL, 3), np.uint8))[1].tobytes()
    data = png[:33] + struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif)) + png[33:]
    tracemalloc.start()
    try:
        assert read_header(data).orientation == 1
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data)
    finally:
        tracemalloc.stop()


def test_a_png_is_read_to_its_last_byte():
    """Pillow sees neither of these: it stops at the picture's data, and at the name of the last chunk."""
    png = cv2.imencode(".png", np.zeros((80, 100, 3), np.uint8))[1].tobytes()
    exif = b"eXIf" + b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    behind = png[:-12] + struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif)) + png[-12:]
    assert read_header(behind).orientation == 6 and decode_photograph(behind).shape == (100, 80, 3)
    for cut in range(1, 13):
        assert reason(png[:-cut]) == "truncated"
    buffer = io.BytesIO()
    Image.new("RGB", SMALL[::-1]).save(buffer, "PNG", icc_profile=bytes(1_200_000))  # unpacked; nobody asked for it
    assert decode_photograph(buffer.getvalue()).shape == (*SMALL, 3)


def test_a_tiff_of_tiles_far_larger_than_the_picture_is_refused():
    picture = [(256, 4, 100), (257, 4, 100)]
    fitting = tiff(*picture, (322, 4, 512), (323, 4, 512), body=bytes(512 * 512))
    assert decode_photograph(fitting).shape == (*SMALL, 3)
    vast = [tiff(*picture, (322, kind, 8000), (323, kind, 8000), body=bytes(1000)) for kind in (4, 9)]
    doubled = tiff(*picture, (322, 4, 8000), (322, 4, 512), (323, 4, 512), body=bytes(1000))
    for data in (*vast, doubled):
        with pytest.raises(PhotographError, match="corrupt: .*tile"):
            read_header(data)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp"])
def test_a_decoder_that_returns_another_size_is_not_believed(suffix, monkeypatch):
    data = cv2.imencode(suffix, np.full((40, 60, 3), 90, np.uint8))[1].tobytes()
    assert decode_photograph(data).shape == (40, 60, 3)
    for module, name in ((photograph, "decode_jpeg"), (cv2, "imdecode")):
        monkeypatch.setattr(module, name, lambda *_: np.zeros((60, 40, 3), np.uint8))  # turned, as EXIF may ask
    assert decode_photograph(data).shape == (60, 40, 3)
    for module, name in ((photograph, "decode_jpeg"), (cv2, "imdecode")):
        monkeypatch.setattr(module, name, lambda *_: np.zeros((41, 60, 3), np.uint8))
    assert reason(data) == "corrupt"


@pytest.mark.parametrize("size", [(331, 250), (330, 249), (336, 256)])
@pytest.mark.parametrize("space", ["RGB", "L", "CMYK"])
def test_reduced_sizes_are_those_that_the_header_lets_expect(size, space):
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    Image.new(space, size).save(buffer, "JPEG", exif=exif)
    assert (read_header(buffer.getvalue()).width, read_header(buffer.getvalue()).height) == size
    for denominator in (1, 2, 4, 8):
        image, taken = decode_scaled(buffer.getvalue(), min_side=min(size) // denominator)
        assert taken == denominator and image.shape == (-(-size[0] // denominator), -(-size[1] // denominator), 3)
