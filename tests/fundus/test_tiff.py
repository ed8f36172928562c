"""TIFF: of several pages the photograph, every kind read right or refused by name, damaged compressed data refused."""

import io
import struct

import cv2
import numpy as np
import pytest

from dr_edge.fundus import lzw, packbits
from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.photograph import decode, decode_photograph

Image = pytest.importorskip("PIL.Image")

Y, X = np.mgrid[:60, :80]
PICTURE = np.stack([X * 255 / 80, Y * 255 / 60, 128 - X / 2 + 0 * Y], axis=2).astype(np.uint8)
LARGE = cv2.resize(PICTURE, (320, 240))
NAMES = {1: "B", 3: "H", 4: "I"}


def pillow(image, **options) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, "TIFF", **options)
    return buffer.getvalue()


def written(*pages: tuple[dict[int, tuple[int, list[int]]], list[bytes]], big: bool = False, order: str = "<") -> bytes:
    """A TIFF of pages, each of (tag -> (type, values), strips), where the strips' tags are 273 and 279, or 324 and 325
    for tiles.
    """
    long, head = ("Q", 16) if big else ("I", 8)
    data = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    data += struct.pack(order + "HHQ", 8, 0, 0) if big else bytes(4)
    link = head - (8 if big else 4)
    for tags, strips in pages:
        places = []
        for strip in strips:
            places.append(len(data))
            data += strip
        start, length = (324, 325) if 322 in tags else (273, 279)
        tags = {**tags, start: (4, places), length: (4, [len(strip) for strip in strips])}
        entries = b""
        for tag, (kind, values) in sorted(tags.items()):
            value = struct.pack(order + NAMES[kind] * len(values), *values)
            if len(value) > (8 if big else 4):
                at, data = len(data), data + value
                value = struct.pack(order + long, at)
            entries += struct.pack(order + "HH" + long, tag, kind, len(values)) + value.ljust(8 if big else 4, b"\0")
        data = data[:link] + struct.pack(order + long, len(data)) + data[link + (8 if big else 4) :]
        data += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries
        link, data = len(data), data + bytes(8 if big else 4)
    return data


def page(image: np.ndarray, strips: list[bytes] | None = None, **more: list[int]):
    """One page of an image; `more` are tags such as t254=[1]."""
    colour = image.ndim == 3
    tags = {
        256: (4, [image.shape[1]]), 257: (4, [image.shape[0]]), 258: (3, [8 * image.itemsize] * (3 if colour else 1)),
        259: (3, [1]), 262: (3, [2 if colour else 1]), 277: (3, [3 if colour else 1]),
    }  # fmt: skip
    tags |= {int(name[1:]): (3, values) for name, values in more.items()}
    return tags, [image.tobytes()] if strips is None else strips


def refusal(data: bytes, **options) -> PhotographError:
    with pytest.raises(PhotographError) as caught:
        decode_photograph(data, **options)
    return caught.value


SMALL = cv2.resize(LARGE, (80, 60), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_photograph_is_taken_where_its_thumbnail_comes_first(big, order):
    for thumbnail in (page(SMALL, t254=[1]), page(SMALL, t255=[2]), page(SMALL)):
        for pages in ((thumbnail, page(LARGE)), (page(LARGE), thumbnail)):
            np.testing.assert_array_equal(decode_photograph(written(*pages, big=big, order=order)), LARGE)
    pyramid = [page(cv2.resize(LARGE, (320 >> n, 240 >> n), interpolation=cv2.INTER_AREA)) for n in (2, 0, 1)]
    assert decode(written(*pyramid, big=big, order=order)).size == (240, 320)


def test_a_mask_beside_the_photograph_is_not_taken():
    mask = page(np.full((240, 320), 255, np.uint8), t254=[4])
    np.testing.assert_array_equal(decode_photograph(written(mask, page(LARGE))), LARGE)


@pytest.mark.parametrize(
    "pages",
    [
        (page(LARGE), page(LARGE)),  # two photographs
        (page(LARGE), page(cv2.resize(LARGE, (300, 225)))),  # nearly of one size
        (page(LARGE), page(cv2.resize(LARGE, (100, 200)))),  # of another shape
        (page(LARGE), *[page(SMALL)] * 20),  # more than a pyramid
        (page(LARGE), page(np.ascontiguousarray(SMALL[::-1, ::-1]))),  # small and unmarked, and another picture
        (page(LARGE, t254=[1]), page(SMALL, t254=[1])),  # reduced, of what?
        (page(SMALL), page(LARGE, t254=[1])),  # the reduced one is larger
    ],
)
def test_pages_of_which_any_may_be_meant_are_refused(pages):
    error = refusal(written(*pages))
    assert error.reason == "several pages"
    assert "smaller page shows another" in error.detail or f"{pages[0][0][256][1][0]}x" in error.detail


def test_pages_without_end_are_refused():
    data = bytearray(written(page(LARGE)))
    data[-4:] = data[4:8]  # the next page is this one
    assert refusal(bytes(data)).reason == "corrupt"


def test_the_limit_holds_for_the_page_that_is_taken():
    data = written(page(SMALL, t254=[1]), page(LARGE))
    assert refusal(data, max_pixels=10_000).reason == "too many pixels"


READ = {
    "planes": written(page(PICTURE, [np.ascontiguousarray(PICTURE[..., c]).tobytes() for c in range(3)], t284=[2])),
    "16 bits": written(page(PICTURE.astype(np.uint16) * 257)),
    "16 bits, big-endian": written(page((PICTURE.astype(np.uint16) * 257).astype(">u2")), order=">"),
    "16-bit planes": written(
        page(
            PICTURE.astype(np.uint16) * 257,
            [(PICTURE[..., c].astype(np.uint16) * 257).tobytes() for c in range(3)],
            t284=[2],
        )
    ),
    "BigTIFF": written(page(PICTURE), big=True),
    "tiles": written(
        page(
            PICTURE,
            [
                np.pad(PICTURE, ((0, 4), (0, 16), (0, 0)))[y : y + 32, x : x + 32].tobytes()
                for y in (0, 32)
                for x in (0, 32, 64)
            ],
            t322=[32],
            t323=[32],
        )
    ),
    "inks": pillow(Image.fromarray(np.dstack([255 - PICTURE, np.zeros((60, 80), np.uint8)]), "CMYK")),
    **{
        name: pillow(PICTURE, compression=name)
        for name in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate")
    },
    "LZW, predicted": pillow(PICTURE, compression="tiff_lzw", tiffinfo={317: 2}),
}


@pytest.mark.parametrize("name", READ)
def test_kinds_that_are_read_give_the_picture(name):
    np.testing.assert_array_equal(decode_photograph(READ[name]), PICTURE)


def test_palette_bits_and_transparency_are_as_pillow_reads_them():
    palette = Image.fromarray(PICTURE).quantize(16)
    bits = Image.fromarray(PICTURE[..., 0] > 100)
    inverted = pillow(Image.fromarray(PICTURE[..., 0]), tiffinfo={262: 0})
    for picture in (palette, bits):
        np.testing.assert_array_equal(decode_photograph(pillow(picture)), np.asarray(picture.convert("RGB")))
    np.testing.assert_array_equal(
        decode_photograph(inverted), np.asarray(Image.open(io.BytesIO(inverted)).convert("RGB"))
    )
    alpha = np.where(X < 20, 0, 255).astype(np.uint8)
    data = pillow(np.dstack([PICTURE, alpha]))
    np.testing.assert_array_equal(decode_photograph(data), PICTURE * (alpha > 0)[..., None])
    half = pillow(np.dstack([PICTURE, np.full_like(alpha, 128)]))
    assert np.abs(decode_photograph(half) - PICTURE * (128 / 255)).max() <= 1


REFUSED = {
    "floating point samples": pillow(Image.fromarray(PICTURE[..., 0].astype(np.float32) / 255)),
    "signed samples": written(page(PICTURE[..., 0].astype(np.int16), t339=[2])),
    "32-bit samples": written(page(PICTURE[..., 0].astype(np.uint32))),
    "12-bit samples": written(page(PICTURE[..., 0], [bytes(60 * 120)], t258=[12])),
    "CIELab samples": written(page(PICTURE, t262=[8])),
    "Zstandard": written(page(PICTURE, t259=[50000])),
    "JPEG 2000": written(page(PICTURE, t259=[34712])),
}


@pytest.mark.parametrize("name", REFUSED)
def test_kinds_that_are_not_read_are_refused_by_name(name):
    error = refusal(REFUSED[name])
    assert error.reason == "unsupported format" and name in error.detail and "8-bit RGB" in error.detail


def synthetic() -> np.ndarray:
    from tfrecord_tools.synthetic.draw import draw_fundus

    return draw_fundus(3, grade=3, size=512).image


@pytest.mark.parametrize("options", [{"compression": "tiff_lzw"}, {"compression": "tiff_lzw", "tiffinfo": {317: 2}}])
def test_damaged_lzw_is_refused(options):
    data = pillow(synthetic(), **options)
    np.testing.assert_array_equal(decode_photograph(data), synthetic())
    places = range(3000, len(data) - 4000, len(data) // 20)
    rng = np.random.default_rng(0)
    said = []
    for at in places:
        for hole in (bytes(500), rng.bytes(500)):
            try:
                decode_photograph(data[:at] + hole + data[at + 500 :])
                said.append(None)
            except PhotographError as error:
                said.append(error.reason)
    assert set(said) <= {"damaged TIFF data", None} and said.count(None) <= 1 and len(said) > 30


@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "jpeg", "packbits"])
def test_other_damaged_data_are_refused(compression):
    data = pillow(synthetic(), compression=compression)
    assert decode_photograph(data).shape == synthetic().shape
    middle = len(data) // 2
    damaged = data[:middle] + bytes(700) + data[middle + 700 :]
    assert refusal(damaged).reason == "damaged TIFF data"


@pytest.mark.parametrize("mode", ["RGB", "L", "YCbCr"])
@pytest.mark.parametrize("side", [16, 24, 48, 100])
def test_jpeg_tables_are_read_in_however_small_a_file(side, mode):
    """Tables of 289 or 574 bytes were skipped in files of less than eight times as many, and these called damaged."""
    image = Image.fromarray(cv2.resize(PICTURE, (side, side))).convert(mode)
    for quality in (30, 75, 95):
        data = pillow(image, compression="jpeg", quality=quality)
        assert len(data) < 8 * 574 or side == 100
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
        assert np.abs(decode_photograph(data) - expected).max() <= 6
        with pytest.raises(PhotographError):
            decode_photograph(data[: len(data) // 2])


def test_the_length_of_an_lzw_stream_is_that_of_the_codes():
    for image in (
        PICTURE,
        np.zeros((700, 900), np.uint8),
        np.random.default_rng(0).integers(0, 256, (300, 300)).astype(np.uint8),
    ):
        data = pillow(image, compression="tiff_lzw", tiffinfo={278: image.shape[0]})
        tags = Image.open(io.BytesIO(data)).tag_v2
        for at, size in zip(tags[273], tags[279], strict=True):
            assert lzw.unpacked_length(data[at : at + size], image.nbytes) == image.nbytes / len(tags[273])
    assert lzw.unpacked_length(b"", 10) == -1 and lzw.unpacked_length(b"\x80\x00", 10) in (0, -1)


@pytest.mark.parametrize("padding", [b"", b"\0", b"\x80"])
def test_the_length_of_a_packbits_stream_is_that_of_its_runs(padding):
    """Some writers fill strips up to an even length; the byte stands for nothing."""
    for image in (PICTURE, np.zeros((60, 80), np.uint8)):
        data = pillow(image, compression="packbits")
        tags = Image.open(io.BytesIO(data)).tag_v2
        streams = [data[at : at + size] + padding for at, size in zip(tags[273], tags[279], strict=True)]
        assert sum(packbits.unpacked_length(stream, image.nbytes) for stream in streams) == image.nbytes
        assert packbits.unpacked_length(streams[0], 100) <= 100 + 128
    assert packbits.unpacked_length(b"\x05abc", 10) == -1 and packbits.unpacked_length(b"", 10) == 0
    assert packbits.unpacked_length(b"\xfea\xfe", 10) == 3


def test_a_page_is_decoded_once_in_grey_however_many_smaller_versions_it_has(monkeypatch):
    from dr_edge.fundus import tiff

    pyramid = [page(cv2.resize(LARGE, (320 >> n, 240 >> n), interpolation=cv2.INTER_AREA)) for n in (0, 1, 2, 3)]
    sizes = []
    decode_page = tiff._decode
    monkeypatch.setattr(tiff, "_decode", lambda data, of, flags: sizes.append(of.size) or decode_page(data, of, flags))
    np.testing.assert_array_equal(decode_photograph(written(*pyramid)), LARGE)
    assert sizes.count((240, 320)) == 2 and len(sizes) == 5
