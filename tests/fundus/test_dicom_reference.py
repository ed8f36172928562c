"""DICOM pixels are those of pydicom's own pipeline (pixel_array, rescale, window or VOI LUT), or the file is refused
for that reason.
"""

import io

import cv2
import numpy as np
import pytest
from dicom_files import JPEG, RGB, dicom, reason

from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.photograph import decode, decode_photograph

pydicom = pytest.importorskip("pydicom")
Image = pytest.importorskip("PIL.Image")

Y, X = np.mgrid[:40, :60]
SMOOTH = np.stack([40 + 3 * X, 60 + 4 * Y, 30 + X + Y], axis=2).astype(np.uint8)
GREY = np.random.default_rng(1).integers(0, 4096, (40, 60)).astype(np.uint16)


def changed(data: bytes, **attributes) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(data))
    for name, value in attributes.items():
        setattr(dataset, name, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def shown(data: bytes, low: float | None = None, high: float | None = None) -> np.ndarray:
    """What pydicom gives, [H, W, 3] float of 0..255; `low` and `high` are the values of black and white."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

    dataset = pydicom.dcmread(io.BytesIO(data))
    values = pixel_array(dataset).astype(np.int64)
    bits = dataset.BitsStored
    if dataset.PhotometricInterpretation.startswith("MONOCHROME"):
        values = apply_voi_lut(apply_modality_lut(values, dataset), dataset).astype(np.float64)
    elif dataset.PhotometricInterpretation == "PALETTE COLOR":
        values, bits = apply_color_lut(values, dataset).astype(np.float64), 16
    low, high = 0 if low is None else low, 2**bits - 1 if high is None else high
    values = np.clip((values - low) / (high - low), 0, 1) * 255
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        values = 255 - values
    return np.dstack([values] * 3) if values.ndim == 2 else values


def assert_as_pydicom(data: bytes, tolerance: float = 1.0, **black_and_white) -> None:
    decoded = decode_photograph(data)
    assert np.abs(decoded - shown(data, **black_and_white)).max() <= tolerance
    assert decoded.std() > 5  # a picture, not a plane


def jpeg_inside(photometric: str, jpeg: bytes, pixels: np.ndarray = SMOOTH, **attributes) -> bytes:
    from pydicom.encaps import encapsulate

    return changed(dicom(pixels, photometric, syntax=JPEG, data=encapsulate([jpeg])), **attributes)


def jpeg(image: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


def without(data: bytes, *markers: bytes) -> bytes:
    """The JPEG without segments of these markers."""
    for marker in markers:
        at = data.find(marker)
        if at > 0:
            data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    return data


def renamed(data: bytes) -> bytes:
    """The JPEG with components 1, 2, 3 in place of R, G, B."""
    changed = data.replace(b"R\x11\x00G\x11\x00B\x11\x00", b"\x01\x11\x00\x02\x11\x00\x03\x11\x00")
    return changed.replace(b"\x03R\x00G\x00B\x00", b"\x03\x01\x00\x02\x00\x03\x00")


RGB_JPEG = jpeg(SMOOTH, keep_rgb=True, subsampling=0)  # with an Adobe marker, components R, G, B
SILENT_RGB = renamed(without(RGB_JPEG, b"\xff\xee"))
JFIF, ADOBE = b"\xff\xe0", b"\xff\xee"


def test_the_files_say_what_they_should():
    assert ADOBE in RGB_JPEG and ADOBE not in SILENT_RGB and JFIF not in SILENT_RGB
    assert Image.open(io.BytesIO(SILENT_RGB)).layer[0][0] == 1


@pytest.mark.parametrize("min_side", [None, 20])
def test_rgb_in_a_jpeg_without_a_marker_stays_rgb(min_side):
    data = jpeg_inside("RGB", SILENT_RGB)
    if min_side is None:
        assert_as_pydicom(data)
    decoded = decode_photograph(data, min_side=min_side)
    assert np.abs(decoded.mean((0, 1)) - SMOOTH.mean((0, 1))).max() < 1


@pytest.mark.parametrize(
    ("photometric", "inside"),
    [
        ("RGB", RGB_JPEG),
        ("RGB", jpeg(SMOOTH, subsampling=0)),  # JFIF says YCbCr
        ("YBR_FULL_422", jpeg(SMOOTH)),
        ("YBR_FULL", jpeg(SMOOTH, subsampling=0)),
        ("YBR_FULL_422", without(jpeg(SMOOTH), JFIF)),
    ],
)
def test_the_colours_of_a_jpeg_are_those_of_pydicom(photometric, inside):
    data = jpeg_inside(photometric, inside)
    assert_as_pydicom(data, tolerance=3.0)  # its own conversion from YCbCr rounds otherwise
    assert np.abs(decode_photograph(data).astype(int) - SMOOTH).mean() < 4


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_component_names_say_rgb(photometric):
    # pydicom decides so too, and its decoder then fails.
    decoded = decode_photograph(jpeg_inside(photometric, without(RGB_JPEG, ADOBE)))
    assert np.abs(decoded.astype(int) - SMOOTH).mean() < 2


@pytest.mark.parametrize(
    ("photometric", "inside"),
    [
        ("YBR_FULL_422", renamed(RGB_JPEG)),  # Adobe says RGB
        ("RGB", without(jpeg(SMOOTH, subsampling=2), JFIF)),  # of half the resolution, as only YCbCr is
        ("YBR_PARTIAL_420", jpeg(SMOOTH)),
        ("YBR_ICT", jpeg(SMOOTH)),
        ("MONOCHROME2", jpeg(SMOOTH)),
        ("RGB", jpeg(SMOOTH[..., 0])),
    ],
)
def test_contradictory_colours_are_refused(photometric, inside):
    assert reason(jpeg_inside(photometric, inside)) == "unsupported DICOM"


def test_the_exif_of_a_jpeg_inside_turns_nothing():
    exif = Image.Exif()
    exif[274] = 6
    data = jpeg_inside("YBR_FULL_422", jpeg(SMOOTH, exif=exif))
    assert decode(data).size == (40, 60)
    assert_as_pydicom(data, tolerance=3.0)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [None, (100, 120)])
def test_a_grey_jpeg_is_inverted_and_windowed(photometric, window):
    attributes = {} if window is None else {"WindowCenter": window[0], "WindowWidth": window[1]}
    assert_as_pydicom(jpeg_inside(photometric, jpeg(SMOOTH[..., 0]), SMOOTH[..., 0], **attributes))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("bits", [8, 12])
def test_windows_are_those_of_pydicom(photometric, function, bits):
    pixels = (GREY >> 4).astype(np.uint8) if bits == 8 else GREY
    window = {"WindowCenter": 0.4 * 2**bits, "WindowWidth": 0.5 * 2**bits, "VOILUTFunction": function}
    assert_as_pydicom(changed(dicom(pixels, photometric, bits=bits), **window))


def test_rescaled_and_signed_values_are_shown_through_their_window():
    window = {"WindowCenter": 1000, "WindowWidth": 3000}
    rescaled = changed(dicom(GREY, "MONOCHROME2", bits=12), RescaleSlope=2, RescaleIntercept=-1000, **window)
    assert_as_pydicom(rescaled, low=-1000, high=2 * 4095 - 1000)
    signed = changed(dicom((GREY.astype(np.int16) - 2048), "MONOCHROME1", bits=12), PixelRepresentation=1, **window)
    assert_as_pydicom(signed, low=-2048, high=2047)


def test_a_voi_lut_is_applied():
    from pydicom.dataset import Dataset

    item = Dataset()
    item.add_new("LUTDescriptor", "US", [256, 0, 8])
    item.add_new("LUTData", "US", [255 - (value * value) // 255 for value in range(256)])
    data = changed(dicom((GREY >> 4).astype(np.uint8), "MONOCHROME2"), VOILUTSequence=[item])
    assert_as_pydicom(data)


@pytest.mark.parametrize(
    "attributes",
    [
        {"RescaleSlope": 2, "RescaleIntercept": -100},
        {"RescaleSlope": -1, "RescaleIntercept": 255},
        {"PixelRepresentation": 1},
        {"WindowCenter": 100, "WindowWidth": 0},
        {"PresentationLUTShape": "INVERSE"},
        {"HighBit": 15},
        {"PixelAspectRatio": [1, 2]},
        {"BitsStored": 16, "HighBit": 15},  # of which 12 are used
    ],
)
def test_values_whose_black_and_white_are_not_known_are_refused(attributes):
    whole = dicom(GREY, "MONOCHROME2", bits=12)
    decode_photograph(whole)
    assert reason(changed(whole, **attributes)) == "unsupported DICOM"


def test_a_rescale_that_changes_nothing_changes_nothing():
    whole = dicom(GREY, "MONOCHROME2", bits=12)
    identity = changed(whole, RescaleSlope=1, RescaleIntercept=0)
    np.testing.assert_array_equal(decode_photograph(identity), decode_photograph(whole))


def test_planes_ybr_and_few_bits_are_as_pydicom_gives_them():
    planes = dicom(SMOOTH, "RGB", data=np.ascontiguousarray(np.moveaxis(SMOOTH, 2, 0)).tobytes())
    planes = changed(planes, PlanarConfiguration=1)
    np.testing.assert_array_equal(decode_photograph(planes), SMOOTH)
    assert_as_pydicom(planes)
    ybr = cv2.cvtColor(SMOOTH, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    assert_as_pydicom(dicom(ybr, "YBR_FULL"))
    pairs = ybr.copy()
    pairs[:, 1::2, 1:] = pairs[:, ::2, 1:]
    order = np.stack([pairs[:, ::2, 0], pairs[:, 1::2, 0], pairs[:, ::2, 1], pairs[:, ::2, 2]], axis=2)
    assert_as_pydicom(dicom(ybr, "YBR_FULL_422", data=order.tobytes()))
    assert_as_pydicom(dicom(RGB >> 3, "RGB", bits=5))
    deep = changed(dicom(RGB.astype(np.uint16) << 4, "RGB", bits=12))
    np.testing.assert_array_equal(decode_photograph(deep), RGB)


def test_unused_bits_are_left_out_as_pydicom_does():
    dirty = dicom(GREY | 0x3000, "MONOCHROME2", bits=12)
    np.testing.assert_array_equal(decode_photograph(dirty), decode_photograph(dicom(GREY, "MONOCHROME2", bits=12)))


def test_a_palette_gives_its_colours_and_a_dark_one_is_refused():
    index = (GREY >> 4).astype(np.uint8)
    ramps = [np.arange(256), np.arange(255, -1, -1), (np.arange(256) * 7) % 256]

    def with_palette(scale: int) -> bytes:
        dataset = pydicom.dcmread(io.BytesIO(dicom(index, "PALETTE COLOR")))
        for name, ramp in zip(("Red", "Green", "Blue"), ramps, strict=True):
            dataset.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
            dataset.add_new(f"{name}PaletteColorLookupTableData", "OW", (ramp * scale).astype("<u2").tobytes())
        buffer = io.BytesIO()
        dataset.save_as(buffer)
        return buffer.getvalue()

    assert_as_pydicom(with_palette(257))
    assert reason(with_palette(1)) == "unsupported DICOM"  # 8 bits stored in 16: black


def test_what_pydicom_leaves_open_is_refused():
    from pydicom.encaps import encapsulate

    twice = changed(dicom(RGB, "RGB"), NumberOfFrames=2, PixelData=RGB.tobytes() * 2)
    assert reason(twice) == "unsupported DICOM"
    for photometric in ("YBR_PARTIAL_422", "YBR_PARTIAL_420", "HSV", "CMYK"):
        assert reason(dicom(RGB, photometric)) == "unsupported DICOM"
    lossless = dicom(RGB, "RGB", syntax="1.2.840.10008.1.2.4.80", data=encapsulate([RGB.tobytes()]))
    with pytest.raises(PhotographError, match="JPEG-LS Lossless"):
        decode_photograph(lossless)


def test_a_jpeg_inside_has_its_true_size():
    large = cv2.resize(SMOOTH, (1200, 900))
    data = jpeg_inside("YBR_FULL_422", jpeg(large), large)
    for min_side, denominator in ((None, 1), (400, 2), (200, 4)):
        decoded = decode(data, min_side=min_side)
        assert (decoded.size, decoded.denominator) == ((900, 1200), denominator)
        assert decoded.image.shape[0] == 900 // denominator
