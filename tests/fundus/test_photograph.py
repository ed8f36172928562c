"""Reading photographs: every type that comes, every way a file can be wrong. Pillow writes what OpenCV reads."""

import io
import pickle
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.photograph import decode, decode_photograph, decode_scaled, read_photograph

Image = pytest.importorskip("PIL.Image")


def gradient(height: int = 60, width: int = 80) -> np.ndarray:
    """A smooth picture whose four corners differ, [height, width, 3] uint8 RGB."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / width, y * 255 / height, 128 - x / 2 + 0 * y], axis=2).astype(np.uint8)


def saved(image: np.ndarray | Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
def test_lossless_types_come_back_exactly(form):
    np.testing.assert_array_equal(decode_photograph(saved(gradient(), form)), gradient())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_is_close(options):
    decoded = decode_photograph(saved(gradient(), "JPEG", quality=95, **options))
    assert np.abs(decoded.astype(int) - gradient()).mean() < 2


def test_cmyk_jpeg_has_the_colours_of_the_rgb_one():
    cmyk = saved(Image.fromarray(gradient()).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(decode_photograph(cmyk).astype(int) - gradient()).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_does(orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[274] = orientation
    data = saved(gradient(), "JPEG", quality=95, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.abs(decode_photograph(data).astype(int) - upright).mean() < 1
    assert decode_photograph(data, min_side=30).shape == (upright.shape[0] // 2, upright.shape[1] // 2, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_the_size_of_a_nearly_square_jpeg_is_its_own_also_where_it_is_reduced(orientation, mode):
    exif = Image.Exif()
    exif[274] = orientation
    data = saved(Image.fromarray(gradient(201, 204)).convert(mode), "JPEG", exif=exif)
    reduced = decode(data, min_side=25)  # 26 x 26 either way
    assert reduced.denominator == 8 and reduced.size == decode(data).size == decode(data).image.shape[:2]


def test_sixteen_bits_become_eight_by_their_upper_byte():
    deep = (gradient().astype(np.uint16) << 8) + 77
    data = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode_photograph(data), gradient())


def test_grey_palette_and_alpha_become_rgb():
    grey = np.asarray(Image.fromarray(gradient()).convert("L"))
    np.testing.assert_array_equal(decode_photograph(saved(grey, "PNG")), np.dstack([grey] * 3))
    palette = Image.fromarray(gradient()).quantize(16)
    np.testing.assert_array_equal(decode_photograph(saved(palette, "PNG")), np.asarray(palette.convert("RGB")))
    alpha = np.full((60, 80), 255, np.uint8)
    alpha[:, :20] = 0
    expected = gradient() * (alpha > 0)[..., None]
    np.testing.assert_array_equal(decode_photograph(saved(np.dstack([gradient(), alpha]), "PNG")), expected)


def test_scaled_decoding_keeps_the_shorter_side_and_says_its_denominator():
    data = saved(gradient(600, 900), "JPEG", quality=95)
    for min_side, denominator in [
        (600, 1),
        (301, 1),
        (300, 2),
        (150, 4),
        (75, 8),
        (10, 8),
        (None, 1),
        (5000, 1),
    ]:
        image, taken = decode_scaled(data, min_side=min_side)
        assert taken == denominator
        assert image.shape == (-(-600 // denominator), -(-900 // denominator), 3)
    assert decode_scaled(saved(gradient(600, 900), "PNG"), min_side=75)[1] == 1
    half = decode_photograph(data, min_side=300)
    reference = cv2.resize(decode_photograph(data), (450, 300), interpolation=cv2.INTER_AREA)
    assert np.abs(half.astype(int) - reference).mean() < 1


def synthetic() -> np.ndarray:
    """A drawn fundus photograph, [512, 512, 3] uint8 RGB."""
    from tfrecord_tools.synthetic.draw import draw_fundus

    return draw_fundus(3, grade=3, size=512).image


def refusal(data: bytes, **options) -> str | None:
    """The reason of the refusal, None where it is taken."""
    try:
        decode_photograph(data, **options)
    except PhotographError as error:
        return error.reason
    return None


def reason(data: bytes, **options) -> str:
    with pytest.raises(PhotographError) as caught:
        decode_photograph(data, **options)
    return caught.value.reason


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("kept", [0.99, 0.6, 0.1])
def test_cut_off_files_are_refused(form, kept):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    data = saved(noise, form)
    assert reason(data[: int(len(data) * kept)]) == "truncated"


def test_a_bmp_header_longer_than_the_file_is_refused():
    data = saved(gradient(), "BMP")
    assert reason(data[:16] + b"\x80" + data[17:]) == "truncated"


def test_cut_off_progressive_jpeg_with_a_thumbnail_is_refused():
    thumbnail = saved(gradient(16, 16), "JPEG")  # ends with an end-of-image marker of its own
    data = saved(gradient(), "JPEG", progressive=True)
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    with_thumbnail = data[:2] + segment + data[2:]
    assert decode_photograph(with_thumbnail).shape == (60, 80, 3)
    assert reason(with_thumbnail[: len(with_thumbnail) - 200]) == "truncated"
    assert reason(with_thumbnail[: len(segment) + 2]) == "truncated"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("min_side", [None, 40])
def test_jpeg_with_a_hole_in_its_picture_data_is_refused(options, min_side):
    data = saved(synthetic(), "JPEG", quality=95, **options)
    places = range(len(data) // 4, len(data) * 3 // 4, 997)
    said = [refusal(data[:at] + data[at + 3000 :], min_side=min_side) for at in places]
    # In a progressive file a hole may, now and then, leave a valid stream, of which nothing can be known.
    assert len(said) > 8 and said.count(None) <= (len(said) // 10 if "progressive" in options else 0)
    assert set(said) <= {"damaged JPEG data", "corrupt", "truncated", None} and said.count("damaged JPEG data") > 6


def test_jpeg_with_doubled_or_zeroed_picture_data_is_refused():
    data = saved(synthetic(), "JPEG", quality=95)
    middle = len(data) // 2
    assert refusal(data[:middle] + data[middle - 1500 :]) == "damaged JPEG data"
    assert refusal(data[:middle] + bytes(2048) + data[middle + 2048 :]) == "damaged JPEG data"
    inks = saved(Image.fromarray(synthetic()).convert("CMYK"), "JPEG", quality=95)
    assert refusal(inks[: len(inks) // 2] + inks[len(inks) // 2 + 3000 :]) == "damaged JPEG data"
    grey = saved(Image.fromarray(synthetic()).convert("L"), "JPEG", quality=95)
    assert refusal(grey[: len(grey) // 2] + grey[len(grey) // 2 + 1000 :]) == "damaged JPEG data"


@pytest.mark.parametrize("left_over", [b"\x12\x34\x56", b"\0" * 500])
def test_what_encoders_leave_before_the_end_marker_is_harmless(left_over):
    data = saved(synthetic(), "JPEG", quality=95)
    whole = data[:-2] + left_over + data[-2:]
    np.testing.assert_array_equal(decode_photograph(whole), decode_photograph(data))


def segment(code: int, body: bytes) -> bytes:
    return b"\xff" + bytes([code]) + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quirk", ["profile", "revision", "scan"])
def test_what_libjpeg_warns_of_in_a_header_neither_counts_as_damage_nor_hides_it(quirk, progressive):
    data = saved(synthetic(), "JPEG", quality=90, progressive=progressive)
    if quirk == "profile":
        odd = data[:2] + segment(0xE2, b"ICC_PROFILE\0\x09\x02" + bytes(40)) + data[2:]
    elif quirk == "revision":
        odd = data.replace(b"JFIF\0\x01", b"JFIF\0\x07", 1)
    else:
        at = data.index(b"\xff\xda") + 11
        odd = data if progressive else data[:at] + b"\x01" + data[at + 1 :]
    np.testing.assert_array_equal(decode_photograph(odd), decode_photograph(data))
    middle = len(odd) // 2
    assert refusal(odd[:middle] + odd[middle + 3000 :]) == "damaged JPEG data"


@pytest.mark.parametrize("min_side", [None, 256, 128, 60])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}])
def test_jpeg_pixels_are_those_of_opencv(min_side, options):
    picture = synthetic()[:511, :509]  # no multiple of a block
    for image in (picture, picture[..., 0]):
        data = saved(np.ascontiguousarray(image), "JPEG", quality=90, **({} if image.ndim == 2 else options))
        decoded, denominator = decode_scaled(data, min_side=min_side)
        flag = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}.get(
            denominator, cv2.IMREAD_REDUCED_COLOR_8
        )
        np.testing.assert_array_equal(decoded, cv2.imdecode(np.frombuffer(data, np.uint8), flag)[..., ::-1])


def test_damaged_exif_turns_nothing():
    data = saved(gradient(), "JPEG", quality=95)
    for content in (
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0XX" * 9,
    ):
        segment = b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
        np.testing.assert_array_equal(decode_photograph(data[:2] + segment + data[2:]), decode_photograph(data))


def test_padding_after_the_end_is_harmless():
    assert decode_photograph(saved(gradient(), "JPEG") + b"\0" * 4096).shape == (60, 80, 3)
    assert decode_photograph(saved(gradient(), "JPEG") + b"trailer of a camera").shape == (60, 80, 3)


def test_damaged_png_is_refused_by_its_checksum():
    data = bytearray(saved(gradient(), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert reason(bytes(data)) == "corrupt"


def test_bombs_are_refused_before_decoding():
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    assert reason(bomb) == "too many pixels"
    assert reason(saved(gradient(), "JPEG"), max_pixels=60 * 80 - 1) == "too many pixels"
    assert decode_photograph(saved(gradient(), "JPEG"), max_pixels=60 * 80).shape == (60, 80, 3)


def test_what_is_no_photograph_is_refused():
    assert reason(b"") == "empty file"
    assert reason(b"left,right\n1,2\n") == "unsupported format"
    assert reason(saved(gradient(), "GIF")) == "unsupported format"
    assert reason(saved(gradient(8, 80), "PNG")) == "too small"
    assert reason(b"\xff\xd8\xff\xe0garbage that is long enough") in ("corrupt", "truncated")


def test_files_are_read_by_content_and_errors_name_them(tmp_path):
    (tmp_path / "photo.png").write_bytes(saved(gradient(), "JPEG"))
    assert read_photograph(tmp_path / "photo.png").shape == (60, 80, 3)
    for path, expected in [(tmp_path / "missing.jpg", "no file"), (tmp_path, "no file")]:
        with pytest.raises(PhotographError, match=path.name) as caught:
            read_photograph(path)
        assert caught.value.reason == expected
    (tmp_path / "cut.jpg").write_bytes(saved(gradient(), "JPEG")[:-400])
    with pytest.raises(PhotographError, match=r"truncated: .*cut\.jpg"):
        read_photograph(tmp_path / "cut.jpg")
    (tmp_path / "large.jpg").write_bytes(b"\xff\xd8\xff" + bytes(2 << 20))
    with pytest.raises(PhotographError) as caught:
        read_photograph(tmp_path / "large.jpg", max_pixels=1000)
    assert caught.value.reason == "file too large"


def test_min_side_must_be_positive():
    with pytest.raises(ValueError, match="min_side must be at least 1"):
        decode_photograph(saved(gradient(), "PNG"), min_side=0)


def test_the_error_survives_the_way_back_from_a_worker():
    error = pickle.loads(pickle.dumps(PhotographError("truncated", "it ends: early")))
    assert (error.reason, str(error)) == ("truncated", "truncated: it ends: early")


FILES = [saved(gradient(), form) for form in ("JPEG", "PNG", "TIFF", "BMP")]
FILES.append(saved(gradient(), "JPEG", progressive=True))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FILES), st.data())
def test_damaged_files_decode_or_are_refused_with_a_reason(data, draw):
    damaged = bytearray(data[: draw.draw(st.integers(0, len(data)))])
    for _ in range(draw.draw(st.integers(0, 4))):
        if damaged:
            damaged[draw.draw(st.integers(0, len(damaged) - 1))] = draw.draw(st.integers(0, 255))
    try:
        image = decode_photograph(bytes(damaged), max_pixels=1_000_000)
    except PhotographError as error:
        assert error.reason and len(error.reason) < 30
    else:
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
