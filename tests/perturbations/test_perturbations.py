"""Perturbations: pure, repeatable, and what they say they are, by Pillow and by hand."""

from __future__ import annotations

import io
import math

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from dr_edge.fundus.fov import find_fov
from dr_edge.fundus.photograph import decode_photograph
from dr_edge.perturbations import covers, framing
from dr_edge.perturbations.catalogue import PERTURBATIONS
from tfrecord_tools.synthetic.draw import draw_fundus


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """[480, 640, 3]: a drawn fundus in a wider frame."""
    drawn = cv2.resize(draw_fundus(7, size=480).image, (480, 480), interpolation=cv2.INTER_AREA)
    return np.pad(drawn, [(0, 0), (80, 80), (0, 0)])


@pytest.fixture(scope="module")
def box(image):
    return find_fov(image).box


def flat(red, green, blue, shape=(64, 64)) -> np.ndarray:
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (*shape, 3)).copy()


def by_pillow(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_each_is_a_file_that_is_read_and_the_same_every_time(name, image, box):
    perturbation, before = PERTURBATIONS[name], image.copy()
    data = perturbation(image, box, seed=3)
    assert decode_photograph(data).dtype == np.uint8
    assert data == perturbation(image, box, seed=3)
    assert np.array_equal(image, before)
    assert perturbation.name == name and perturbation.title and perturbation.imitates.endswith(".")


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_bytes_are_taken_as_an_array_is(name, image, box):
    stored = PERTURBATIONS["screenshot"].write(image)
    assert PERTURBATIONS[name](stored, box, seed=1) == PERTURBATIONS[name](image, box, seed=1)


def test_only_what_is_drawn_at_random_follows_the_seed(image, box):
    moved = {name for name, each in PERTURBATIONS.items() if each(image, box, 1) != each(image, box, 2)}
    assert moved == {"noisy", "label_over_retina"}


def test_another_shape_is_refused(image):
    with pytest.raises(ValueError, match=r"\[H, W, 3\] uint8 RGB. Received: \[480, 640\]"):
        PERTURBATIONS["blurred"](image[..., 0])


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_an_exif_turn_is_shown_as_it_was(orientation, image):
    data = PERTURBATIONS[f"exif_{orientation}"](image)
    assert by_pillow(data).getexif()[0x0112] == orientation
    assert by_pillow(data).size == ((640, 480) if orientation == 3 else (480, 640))
    shown = np.asarray(ImageOps.exif_transpose(by_pillow(data)))
    ours, plain = decode_photograph(data), decode_photograph(PERTURBATIONS["jpeg_95"](image))
    for found in (shown, ours):
        assert found.shape == image.shape
        assert np.abs(found.astype(int) - plain).mean() < 0.5  # the blocks of a JPEG lie otherwise


@pytest.mark.parametrize("quality", [95, 75, 50, 20])
def test_jpeg_is_of_the_quality_that_its_name_says(quality, image):
    reference = io.BytesIO()
    Image.fromarray(image).save(reference, "JPEG", quality=quality)
    found = by_pillow(PERTURBATIONS[f"jpeg_{quality}"](image))
    assert found.quantization == Image.open(reference).quantization
    assert (found.layer[0][1:3] == (1, 1)) == (quality == 95)  # 4:4:4 there, 4:2:0 else


@pytest.mark.parametrize(("name", "exponent"), [("gamma_0.8", 0.8), ("gamma_1.25", 1.25)])
def test_gamma_by_hand(name, exponent):
    found = decode_photograph(PERTURBATIONS[name](flat(200, 90, 30))).reshape(-1, 3)
    expected = [255 * math.pow(level / 255, exponent) for level in (200, 90, 30)]
    assert np.abs(found - expected).max() <= 2


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("darker", (160, 72, 24)), ("brighter", (240, 108, 36)), ("warmer", (220, 90, 26)), ("cooler", (180, 90, 34)),
        ("channels_swapped", (30, 90, 200)),
    ],
)  # fmt: skip
def test_levels_by_hand(name, levels):
    found = decode_photograph(PERTURBATIONS[name](flat(200, 90, 30))).reshape(-1, 3)
    assert np.abs(found.astype(int) - levels).max() <= 2


def test_brighter_is_cut_off_and_does_not_wrap():
    assert decode_photograph(PERTURBATIONS["brighter"](flat(250, 250, 250))).min() >= 254


def test_grey_is_pillows_luminance_in_one_channel(image):
    found = by_pillow(PERTURBATIONS["greyscale"](image))
    assert found.mode == "L"
    reference = np.asarray(Image.fromarray(image).convert("L"), int)
    assert np.abs(np.asarray(found, int) - reference).mean() < 1


def test_noise_is_as_strong_as_it_says():
    grey = flat(120, 120, 120, (300, 300))
    noise = PERTURBATIONS["noisy"].change(grey, (0, 0, 300, 300), np.random.default_rng(0)).astype(float) - 120
    assert noise.std() == pytest.approx(10, rel=0.02) and abs(noise.mean()) < 0.1


def test_blur_takes_fine_detail_away_and_sharpening_adds_some(image, box):
    plain, soft, sharp = (
        decode_photograph(PERTURBATIONS[name](image, box)).astype(float) for name in ("jpeg_95", "blurred", "sharpened")
    )
    fine = [np.abs(np.diff(each[100:380, 200:440, 1], axis=1)).mean() for each in (soft, plain, sharp)]
    assert fine[0] < 0.8 * fine[1] < fine[1] < 0.8 * fine[2]


def test_clahe_raises_local_contrast_and_leaves_colours(image, box):
    plain, found = (
        decode_photograph(PERTURBATIONS[name](image, box))[100:380, 200:440].astype(float)
        for name in ("jpeg_95", "clahe")
    )
    assert found[..., 1].std() > 1.2 * plain[..., 1].std()
    assert (found.mean(axis=(0, 1)).argsort() == plain.mean(axis=(0, 1)).argsort()).all()


def test_turns_and_mirrors(image):
    quarter = PERTURBATIONS["turned_90"].change(image, (0, 0, 1, 1), np.random.default_rng(0))
    assert np.array_equal(quarter, np.rot90(image, -1))
    assert np.array_equal(PERTURBATIONS["mirrored"].change(image, (0, 0, 1, 1), None), image[:, ::-1])
    for degrees in (5, 30):
        turned = decode_photograph(PERTURBATIONS[f"turned_{degrees}"](image))
        reference = np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BICUBIC, expand=True))
        assert np.abs(np.subtract(turned.shape, reference.shape)).max() <= 2
        high, wide = (min(pair) for pair in zip(turned.shape[:2], reference.shape[:2], strict=True))
        assert np.abs(turned[:high, :wide].astype(int) - reference[:high, :wide]).mean() < 4


def test_a_turn_loses_nothing(image):
    turned = PERTURBATIONS["turned_30"].change(image, (0, 0, 1, 1), np.random.default_rng(0))
    assert (turned.max(axis=-1) > 20).sum() == pytest.approx((image.max(axis=-1) > 20).sum(), rel=0.01)


@pytest.mark.parametrize(("name", "grey"), [("white_margin", 255), ("black_margin", 0)])
def test_margins(name, grey, image):
    found = decode_photograph(PERTURBATIONS[name](image))
    edge = round(framing.MARGIN * 640)
    assert found.shape == (480 + 2 * edge, 640 + 2 * edge, 3)
    around = np.concatenate([found[: edge - 8].reshape(-1, 3), found[:, : edge - 8].reshape(-1, 3)])
    assert np.abs(around.astype(int) - grey).max() <= 2


def test_shifted_by_a_part_of_the_diameter(image):
    found = PERTURBATIONS["shifted"].change(image, (0, 80, 480, 560), np.random.default_rng(0))
    step = round(framing.SHIFT * 480)
    assert np.array_equal(found[step:, step:], image[:-step, :-step])
    assert not found[:step].any() and not found[:, :step].any()


@pytest.mark.parametrize(
    ("name", "size"), [("side_300", (300, 225)), ("side_1500", (1500, 1125)), ("squeezed", (512, 480))]
)
def test_sizes(name, size, image):
    assert by_pillow(PERTURBATIONS[name](image)).size == size


def test_a_screenshot_is_a_portrait_png_that_shows_the_whole_picture(image):
    found = by_pillow(PERTURBATIONS["screenshot"](image))
    assert found.format == "PNG" and found.size == framing.SCREEN
    lit = np.asarray(found).max(axis=-1) > 20
    rows = np.flatnonzero(lit[200:-200].any(axis=1)) + 200
    assert rows[0] > 200 and rows[-1] - rows[0] == pytest.approx(1080 * 480 / 640, abs=20)


def test_labels_and_the_dark_half(image, box):
    corner = covers.label_in_corner(image, box, np.random.default_rng(0))
    where = np.argwhere((corner != image).any(axis=-1))
    assert where[:, 0].min() > 0.9 * 480 and where[:, 1].max() < 0.6 * 640
    sticker = covers.label_over_retina(image, box, np.random.default_rng(0))
    changed = (sticker != image).any(axis=-1)
    diameter = box[2] - box[0]
    assert changed.sum() == pytest.approx(covers.LABEL[0] * covers.LABEL[1] * diameter**2, rel=0.1)
    rows, columns = np.nonzero(changed)
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    assert np.hypot(rows.mean() - middle[0], columns.mean() - middle[1]) < 0.3 * diameter
    half = covers.half_dark(image, box, np.random.default_rng(0))
    assert not half[:, 321:].any() and np.array_equal(half[:, :319], image[:, :319])
