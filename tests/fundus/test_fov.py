"""Finding drawn discs of known circle: whole, cut off, off-centre, noisy, squashed, with text and bars."""

import pickle

import cv2
import numpy as np
import pytest

from dr_edge.fundus.crop import FieldOfView, crop_square
from dr_edge.fundus.fov import find_fov, fov_mask
from dr_edge.fundus.gradability import NotFundusError
from dr_edge.fundus.graham import preprocess


def synthetic(height, width, x, y, radius, *, colour=(190, 90, 40), border=3.0, noise=2.0, seed=0, aspect=1.0):
    """Draws a lit disc that darkens towards its rim on a noisy border, [height, width, 3] uint8 RGB."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    away = np.hypot((columns - x) / aspect, rows - y)
    cover = np.clip(radius - away + 0.5, 0, 1)[..., None]
    lit = (1 - 0.5 * np.clip(away / radius, 0, 1) ** 2)[..., None] * np.array(colour, float)
    image = lit * cover + border + random.normal(0, noise, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def assert_found(image, x, y, radius, *, within=0.01):
    fov = find_fov(image)
    error = max(abs(fov.centre_x - x), abs(fov.centre_y - y), abs(fov.radius - radius)) / radius
    assert error <= max(within, 0.75 / radius), f"{fov} is {error:.2%} off {(x, y, radius)}"
    assert all(edge == round(edge) for edge in fov.box)
    return fov


@pytest.mark.parametrize(
    ("height", "width", "x", "y", "radius"),
    [
        (480, 640, 320, 240, 200),  # whole
        (480, 640, 270, 210, 190),  # off-centre
        (427, 640, 318, 215, 245),  # cut at the top and bottom
        (712, 1072, 500, 360, 432),  # as IDRiD
        (400, 400, 201, 199, 245),  # a square cut out of the middle: only the corners show
        (600, 500, 250, 300, 270),  # cut at the sides
        (600, 800, 250, 300, 290),  # cut at one side
        (1200, 1800, 898, 603, 570),
        (96, 96, 48, 47, 44),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_drawn_discs_are_found_within_one_percent(height, width, x, y, radius, seed):
    image = synthetic(height, width, x, y, radius, border=4.0 * seed, noise=1.0 + 1.5 * seed, seed=seed)
    assert assert_found(image, x, y, radius).aspect == 1


@pytest.mark.parametrize("level", [40, 80, 250])
def test_dark_and_bright_discs_are_found(level):
    image = synthetic(480, 640, 330, 250, 195, colour=(level, level * 0.6, level * 0.4), noise=1.5)
    assert_found(image, 330, 250, 195)


def test_text_bars_and_cuts_do_not_shift_it():
    image = synthetic(600, 800, 400, 300, 250)
    cv2.putText(image, "OD 2021-03-04", (10, 590), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (255, 255, 255), 3)
    image[:, 770:790] = 255  # the white bar of a film slide
    image[:90], image[520:] = 0, 0  # cut inside the frame
    cv2.rectangle(image, (575, 120), (600, 140), (190, 90, 40), -1)  # the camera's notch
    assert_found(image, 400, 300, 250)


def test_a_shadow_that_reaches_the_rim_does_not_shift_it():
    image = synthetic(480, 640, 320, 240, 200).astype(float)
    rows, columns = np.mgrid[:480, :640]
    image *= (1 - 0.97 * np.exp(-((columns - 130) ** 2 + (rows - 260) ** 2) / 2 / 60**2))[..., None]
    assert_found(image.astype(np.uint8), 320, 240, 200)


def test_a_white_page_around_the_photograph_is_no_retina():
    page = np.full((700, 900, 3), 255, np.uint8)
    page[100:600, 120:760] = synthetic(500, 640, 320, 250, 200)
    assert_found(page, 440, 350, 200)


@pytest.mark.parametrize("aspect", [0.5625, 0.66, 0.75])
def test_a_photograph_squashed_into_a_square_comes_out_round(aspect):
    image = synthetic(256, 256, 128, 126, 145, aspect=aspect)
    fov = find_fov(image)
    assert fov.aspect == pytest.approx(aspect, rel=0.03)
    assert fov.radius == pytest.approx(145, rel=0.02)


@pytest.mark.parametrize("stretch", [4 / 3, 3 / 2, 1.6])
def test_a_portrait_squashed_into_a_square_comes_out_round(stretch):
    portrait = synthetic(round(360 * stretch), 360, 181, 180 * stretch, 165)
    fov = find_fov(cv2.resize(portrait, (400, 400), interpolation=cv2.INTER_AREA))
    assert fov.aspect == pytest.approx(stretch, rel=0.03)
    assert fov.radius == pytest.approx(165 * 400 / (360 * stretch), rel=0.02)


@pytest.mark.parametrize("cut", [1.0, 0.94, 0.86])
def test_a_landscape_turned_and_squashed_into_a_square_comes_out_round(cut):
    landscape = synthetic(round(2 * 240 * cut), 720, 360, 240 * cut, 240)  # cut off at the top and at the bottom
    turned = cv2.rotate(landscape, cv2.ROTATE_90_CLOCKWISE)
    fov = find_fov(cv2.resize(turned, (480, 480), interpolation=cv2.INTER_AREA))
    assert fov.radius == pytest.approx(240 * 480 / 720, rel=0.02)
    assert fov.radius_x == pytest.approx(240 * 480 / turned.shape[1], rel=0.03)


def test_a_frame_full_of_retina_is_kept():
    rows, columns = np.mgrid[:300, :400]
    waves = 20 * np.sin(columns / 9.0) + 20 * np.cos(rows / 7.0)
    image = np.dstack([180 + waves, 90 + waves / 2, 40 + waves / 4]).astype(np.uint8)
    fov = find_fov(image)
    assert (fov.centre_x, fov.centre_y, fov.radius) == (199.5, 149.5, 240)


def test_what_was_cropped_is_found_again_in_place():
    image = synthetic(427, 640, 318, 215, 245)
    fov = find_fov(crop_square(image, find_fov(image), 512))
    assert fov.radius == pytest.approx(256, rel=0.01)
    assert fov.centre_x == pytest.approx(255.5, abs=2) and fov.centre_y == pytest.approx(255.5, abs=2)


def test_the_same_picture_gives_the_same_disc():
    image = synthetic(427, 640, 318, 215, 245)
    assert find_fov(image) == find_fov(image.copy())


def document() -> np.ndarray:
    page = np.full((800, 600, 3), 250, np.uint8)
    for line in range(60, 760, 24):
        cv2.putText(page, "retinal report 20/20", (40, line), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (20, 20, 20), 2)
    return page


BLACK = np.zeros((300, 400, 3), np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (BLACK, "too dark"),
        (synthetic(300, 400, 200, 150, 130, colour=(14, 9, 7), noise=1.0), "too dark"),
        (np.clip(np.random.default_rng(0).normal(3, 2, (300, 400, 3)), 0, 255).astype(np.uint8), "too dark"),
        (np.full((300, 400, 3), 255, np.uint8), "no field of view"),
        (np.full((300, 400, 3), (200, 100, 50), np.uint8), "blank"),
        (document(), "no field of view"),
        (NOISE, "no field of view"),
        (np.full((40, 4000, 3), 99, np.uint8), "no field of view"),
    ],
)
def test_what_is_no_fundus_is_refused(image, reason):
    with pytest.raises(NotFundusError) as caught:
        find_fov(image)
    assert caught.value.reason == reason
    assert str(caught.value) == f"{reason}: {caught.value.detail}"
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.reason, copy.detail, str(copy)) == (reason, caught.value.detail, str(caught.value))


def test_a_vessel_map_and_a_scan_are_refused():
    lines = np.zeros((300, 400, 3), np.uint8)
    random = np.random.default_rng(1)
    for _ in range(40):
        start, stop = random.integers(0, 300, 2), random.integers(0, 300, 2)
        cv2.line(lines, start.tolist(), stop.tolist(), (255, 255, 255), 3)
    scan = np.clip(random.normal(30, 12, (286, 704, 3)), 0, 255).astype(np.uint8)
    scan[120:160] = 170
    for image in (lines, scan):
        with pytest.raises(NotFundusError):
            find_fov(image)


@pytest.mark.parametrize(
    "image", [np.zeros((9, 99, 3), np.uint8), np.zeros((99, 99), np.uint8), np.zeros((99, 99, 3), np.float32)]
)
def test_wrong_arrays_are_named(image):
    with pytest.raises(ValueError, match="find_fov needs"):
        find_fov(image)


def test_fov_mask_of_a_size_and_of_a_crop():
    crop = crop_square(synthetic(400, 640, 320, 200, 245), FieldOfView(320, 200, 245), 128)
    mask = fov_mask(crop)
    assert fov_mask(128)[64, 1] and not fov_mask(128)[1, 1]
    assert not mask[2].any() and mask[64, 64]
    assert mask.sum() < fov_mask(128).sum()
    with pytest.raises(ValueError, match="fov_mask needs"):
        fov_mask(crop[:50])
    assert preprocess(crop, "graham").shape == crop.shape
