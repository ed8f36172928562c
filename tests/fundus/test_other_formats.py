"""WebP and HEIC are read, whatever turns them; GIF, JPEG 2000, AVIF and the like are refused by name.

The files in `heic/` are drawn: a gradient of 80 x 60, and `eye.heic`. They were written once by pillow-heif, which is
no dependency, since its encoder is GPL; pi-heif reads only.
"""

import builtins
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.image_header import read_header
from dr_edge.fundus.photograph import decode, decode_photograph

Image = pytest.importorskip("PIL.Image")
HEIC = Path(__file__).parent / "heic"
Y, X = np.mgrid[:60, :80]
PICTURE = np.stack([X * 255 / 80, Y * 255 / 60, 128 - X / 2 + 0 * Y], axis=2).astype(np.uint8)


def saved(image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, form, **options)
    return buffer.getvalue()


def refusal(data: bytes, **options) -> PhotographError:
    with pytest.raises(PhotographError) as caught:
        decode_photograph(data, **options)
    return caught.value


def upright(orientation: int) -> np.ndarray:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[274] = orientation
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(saved(PICTURE, "PNG", exif=exif)))))


def test_webp_is_read():
    np.testing.assert_array_equal(decode_photograph(saved(PICTURE, "WEBP", lossless=True)), PICTURE)
    lossy = saved(PICTURE, "WEBP", quality=95)
    np.testing.assert_array_equal(decode_photograph(lossy), np.asarray(Image.open(io.BytesIO(lossy)).convert("RGB")))
    header = read_header(lossy)
    assert (header.format, header.height, header.width) == ("webp", 60, 80)
    alpha = np.where(X < 20, 0, 255).astype(np.uint8)
    for options in ({"lossless": True, "exact": True}, {"quality": 100}):
        decoded = decode_photograph(saved(np.dstack([PICTURE, alpha]), "WEBP", **options))
        assert decoded[:, :20].max() == 0 and np.abs(decoded[:, 24:].astype(int) - PICTURE[:, 24:]).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_of_png_and_webp_turns_them(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    alpha = np.dstack([PICTURE, np.full((60, 80), 255, np.uint8)])
    for image in (PICTURE, alpha):
        for form, options in (("PNG", {}), ("WEBP", {"lossless": True})):
            decoded = decode(saved(image, form, exif=exif, **options))
            np.testing.assert_array_equal(decoded.image, upright(orientation))
            assert decoded.size == decoded.image.shape[:2]


def test_the_exif_behind_the_picture_of_a_png_turns_it_as_well():
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    chunk = b"eXIf" + tiff
    written = struct.pack(">I", len(tiff)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    plain = saved(PICTURE, "PNG")
    for data in (plain[:-12] + written + plain[-12:], plain[:33] + written + plain[33:]):
        np.testing.assert_array_equal(decode(data).image, upright(6))


def test_odd_webps_are_refused():
    still = saved(PICTURE, "WEBP", quality=90)
    assert refusal(still[:-20]).reason == "truncated"
    assert refusal(still, max_pixels=1000).reason == "too many pixels"
    frames = [Image.fromarray(PICTURE), Image.fromarray(PICTURE[::-1].copy())]
    animated = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    assert "animated" in str(refusal(animated))
    animated = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert "animated" in str(refusal(animated))
    twice = bytearray(still + still[12:])
    twice[4:8] = (len(twice) - 8).to_bytes(4, "little")
    assert refusal(bytes(twice)).reason == "corrupt"
    with_canvas = bytearray(saved(PICTURE, "WEBP", quality=90, exif=Image.Exif()))
    at = with_canvas.find(b"VP8X")
    if at > 0:
        with_canvas[at + 12] ^= 1  # another width than its picture's
        assert refusal(bytes(with_canvas)).reason == "corrupt"


def test_heic_is_read():
    pytest.importorskip("pi_heif")
    plain = (HEIC / "plain.heic").read_bytes()
    decoded = decode(plain)
    assert decoded.size == (60, 80) and np.abs(decoded.image.astype(int) - PICTURE).mean() < 2
    deep = decode_photograph((HEIC / "ten_bit.heic").read_bytes())
    assert np.abs(deep.astype(int) - PICTURE).mean() < 2
    alpha = decode_photograph((HEIC / "alpha.heic").read_bytes())
    assert alpha[:, :18].max() < 8 and np.abs(alpha[:, 24:].astype(int) - PICTURE[:, 24:]).mean() < 3


@pytest.mark.parametrize("orientation", [5, 6])
def test_heic_is_turned_by_its_own_properties_and_only_once(orientation):
    pytest.importorskip("pi_heif")
    data = (HEIC / f"turned_{orientation}.heic").read_bytes()  # irot and imir, and the same as EXIF
    assert b"irot" in data and b"Exif" in data
    decoded = decode(data)
    assert decoded.size == (80, 60) and np.abs(decoded.image.astype(int) - upright(orientation)).mean() < 2
    if orientation == 6:
        at = data.index(b"irot") + 4
        still = decode_photograph(data[:at] + b"\0" + data[at + 1 :])  # EXIF alone turns nothing: ISO/IEC 23008-12
        assert np.abs(still.astype(int) - PICTURE).mean() < 2


def test_the_size_of_a_heic_is_known_before_it_is_decoded(monkeypatch):
    pi_heif = pytest.importorskip("pi_heif")
    large = (HEIC / "large.heic").read_bytes()  # 8192 x 8192 in 16 kB
    monkeypatch.setattr(pi_heif.HeifImage, "load", None)
    assert refusal(large, max_pixels=10_000_000).reason == "too many pixels"


def test_a_heic_that_states_a_smaller_size_than_it_decodes_to_is_refused():
    pytest.importorskip("pi_heif")
    data = (HEIC / "large.heic").read_bytes()
    at = data.index(b"ispe") + 8
    assert refusal(data[:at] + (64).to_bytes(4, "big") * 2 + data[at + 8 :]).reason == "corrupt"


def box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), name) + body


def grid(tile: bytes) -> bytes:
    """A HEIC of 2 x 2 copies of the picture in `tile`, as phones store theirs in tiles: 160 x 128."""
    coded = tile[tile.index(b"mdat") + 4 :]
    at = tile.index(b"hvcC") - 4
    hvcc = tile[at : at + int.from_bytes(tile[at : at + 4], "big")]
    ispe = [box(b"ispe", bytes(4), struct.pack(">II", *size)) for size in ((80, 64), (160, 128))]
    infe = b"".join(
        box(b"infe", b"\2\0\0\0", struct.pack(">HH4s", item, 0, b"grid" if item == 5 else b"hvc1"), b"\0")
        for item in range(1, 6)
    )
    picture = b"\0\0\1\1" + struct.pack(">HH", 160, 128)

    def file(start: int) -> bytes:
        places = b"".join(struct.pack(">HHHHII", item, 0, 0, 1, start, len(coded)) for item in range(1, 5))
        places += struct.pack(">HHHHII", 5, 1, 0, 1, 0, len(picture))
        links = b"".join(struct.pack(">HB2B", item, 2, 0x81, 3 if item == 5 else 2) for item in range(1, 5))
        links += struct.pack(">HB1B", 5, 1, 3)
        meta = box(
            b"meta", bytes(4), box(b"hdlr", bytes(8), b"pict", bytes(13)), box(b"pitm", bytes(4), struct.pack(">H", 5)),
            box(b"iloc", b"\1\0\0\0\x44\0", struct.pack(">H", 5), places),
            box(b"iinf", bytes(4), struct.pack(">H", 5), infe),
            box(b"iref", bytes(4), box(b"dimg", struct.pack(">HH4H", 5, 4, 1, 2, 3, 4))),
            box(b"iprp", box(b"ipco", hvcc, *ispe), box(b"ipma", bytes(4), struct.pack(">I", 5), links)),
            box(b"idat", picture),
        )  # fmt: skip
        return box(b"ftyp", b"heic", bytes(4), b"mif1heic") + meta + box(b"mdat", coded)

    return file(len(file(0)) - len(coded))


def test_heic_of_tiles_is_read_and_each_tile_is_looked_at():
    pytest.importorskip("pi_heif")
    whole = grid((HEIC / "plain.heic").read_bytes())
    decoded = decode(whole)
    assert decoded.size == (128, 160)
    for y in (0, 64):
        for x in (0, 80):
            assert np.abs(decoded.image[y : y + 60, x : x + 80].astype(int) - PICTURE).mean() < 2
    at = len(whole) - 300
    assert refusal(whole[:at] + bytes(100) + whole[at + 100 :]).reason == "damaged HEIC data"


def test_garbled_heics_are_refused():
    pytest.importorskip("pi_heif")
    data = (HEIC / "eye.heic").read_bytes()
    rng = np.random.default_rng(0)
    said = []
    for at in rng.integers(data.index(b"mdat") + 60, len(data) - 600, 24).tolist():
        for hole in (bytes([data[at] ^ 4]), bytes(500), rng.bytes(500)):
            try:
                decode_photograph(data[:at] + hole + data[at + len(hole) :])
                said.append(None)
            except PhotographError as error:
                said.append(error.reason)
    assert set(said) <= {"damaged HEIC data", "corrupt", None} and said.count(None) <= 3


def test_damaged_heics_are_refused():
    pytest.importorskip("pi_heif")
    data = (HEIC / "eye.heic").read_bytes()
    assert decode(data).size == (256, 256)
    for kept in (0.99, 0.6, 0.1):
        assert refusal(data[: int(len(data) * kept)]).reason == "truncated"
    assert refusal(data.replace(b"hvcC", b"hvcX")).reason == "corrupt"


def test_without_pi_heif_the_error_says_what_to_install(monkeypatch):
    genuine = builtins.__import__

    def without_it(name, *args, **kwargs):
        if name.split(".")[0] == "pi_heif":
            raise ImportError(name)
        return genuine(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_it)
    error = refusal((HEIC / "plain.heic").read_bytes())
    assert error.reason == "pi-heif is missing" and 'pip install "dr_edge[heic]"' in error.detail


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("GIF", saved(PICTURE, "GIF")),
        ("JPEG 2000", saved(PICTURE, "JPEG2000")),
        ("JPEG 2000", saved(PICTURE, "JPEG2000", no_jp2=True)),
        ("AVIF", saved(PICTURE, "AVIF")),
        ("PPM", saved(PICTURE, "PPM")),
        ("PDF", saved(PICTURE, "PDF")),
        ("film", b"\0\0\0\x14ftypmp42\0\0\0\0mp42" + bytes(90)),
        ("Excel", b"PK\x03\x04" + bytes(60)),
        ("text", b"patient;grade\n1;2\n"),
    ],
)
def test_what_is_not_read_is_refused_by_name(name, data):
    error = refusal(data)
    assert error.reason == "unsupported format" and name in error.detail and "convert" in error.detail
