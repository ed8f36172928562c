"""Graham normalisation against OpenCV's full-resolution Gaussian, its rim, its methods and its errors."""

import cv2
import numpy as np
import pytest

from dr_edge.fundus.crop import disc_mask
from dr_edge.fundus.graham import (
    GRAHAM,
    GREY,
    PREPROCESS,
    blur_plan,
    disc_weight,
    graham_normalise,
    grey_normalise,
    lit_weight,
    preprocess,
)

RATIO = GRAHAM["sigma_ratio"]


def textured_crop(size: int, *, cut: float = 0.0, level: float = 1.0, seed: int = 0) -> np.ndarray:
    """A disc with texture of all scales and a gradient, black outside and in its top and bottom `cut`."""
    random = np.random.default_rng(seed)
    texture = sum(
        cv2.GaussianBlur(random.normal(size=(size, size, 3)), (0, 0), size * scale) * size * scale * gain
        for scale, gain in ((0.004, 5), (0.01, 9), (0.05, 12))
    )
    slope = np.linspace(0.6, 1.2, size)[None, :, None]
    image = (np.array([170, 90, 50]) * slope + texture) * level
    image[~disc_mask(size)] = 0
    rows = int(cut * size)
    image[:rows], image[size - rows :] = 0, 0
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [128, 224, 256, 320, 384, 512])
def test_it_is_the_full_resolution_gaussian_within_one_and_a_half_levels(size):
    crop = textured_crop(size)
    sigma = RATIO * size / 2
    weight = disc_mask(size, GRAHAM["disc"]).astype(np.float32)
    blurred = cv2.GaussianBlur(crop.astype(np.float32) * weight[..., None], (0, 0), sigma)
    average = blurred / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)[..., None]
    expected = np.clip(128 + 4 * (crop - average), 0, 255)
    inner = disc_mask(size, 0.9)
    got = graham_normalise(crop, sigma_ratio=RATIO)
    assert np.abs(got[inner] - expected[inner]).mean() < 1.5


def test_deep_inside_it_is_the_usual_formula():
    crop = textured_crop(512)
    usual = cv2.addWeighted(crop, 4, cv2.GaussianBlur(crop, (0, 0), RATIO * 256), -4, 128)
    inner = disc_mask(512, 0.8)
    assert np.abs(graham_normalise(crop, sigma_ratio=RATIO)[inner].astype(int) - usual[inner]).mean() < 2


@pytest.mark.parametrize("cut", [0.0, 0.1])
def test_the_rim_shows_no_ring(cut):
    """On an even disc everything is neutral; the usual formula makes a ring of full contrast there."""
    even = np.zeros((256, 256, 3), np.uint8)
    even[disc_mask(256)] = (180, 100, 60)
    rows = int(cut * 256)
    even[:rows], even[256 - rows :] = 0, 0
    got = graham_normalise(even, sigma_ratio=RATIO)
    assert np.abs(got.astype(int) - 128).max() <= 2
    usual = cv2.addWeighted(even, 4, cv2.GaussianBlur(even, (0, 0), RATIO * 128), -4, 128)
    assert np.abs(usual.astype(int) - 128).max() > 100


def test_outside_and_in_the_dark_it_is_neutral():
    crop = textured_crop(256, cut=0.2)
    got = graham_normalise(crop, sigma_ratio=RATIO)
    assert (got[~disc_mask(256)] == 128).all() and (got[:50] == 128).all()
    assert (graham_normalise(np.zeros((64, 64, 3), np.uint8), sigma_ratio=RATIO) == 128).all()


def test_brightness_of_the_camera_cancels_and_contrast_does_not():
    bright, dim = textured_crop(256), textured_crop(256, level=0.5)
    inner = disc_mask(256, 0.9)
    a = graham_normalise(bright, sigma_ratio=RATIO)[inner].astype(float) - 128
    b = graham_normalise(dim, sigma_ratio=RATIO)[inner].astype(float) - 128
    assert abs(a.mean()) < 2 and abs(b.mean()) < 3
    assert b.std() == pytest.approx(a.std() / 2, rel=0.1)


def test_a_given_mask_narrows_the_field_of_view():
    crop = textured_crop(256)
    mask = disc_mask(256, 0.5)
    got = graham_normalise(crop, fov_mask=mask, sigma_ratio=RATIO)
    assert (got[~disc_mask(256, 0.6)] == 128).all()
    assert got[disc_mask(256, 0.4)].std() > 5


def test_gain_scales_the_contrast():
    crop = textured_crop(256)
    low, high = (graham_normalise(crop, sigma_ratio=RATIO, gain=gain).astype(float) for gain in (1, 2))
    inner = disc_mask(256, 0.9)
    assert (high[inner] - 128).std() == pytest.approx(2 * (low[inner] - 128).std(), rel=0.05)


@pytest.mark.parametrize("size", [64, 96, 128, 224, 256, 299, 320, 384, 512, 640, 1024])
def test_the_plan_gives_the_target_sigma(size):
    """Measured on a single bright point: variance of the whole chain of reduce, blur and enlarge."""
    pool, kernel = blur_plan(size, RATIO)
    assert size % pool == 0 and len(kernel) % 2 == 1
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    total = np.zeros(size)
    for shift in range(pool):  # every phase of the reduced grid
        line = np.zeros((1, size), np.float32)
        line[0, size // 2 + shift] = 1
        small = cv2.resize(line, (size // pool, 1), interpolation=cv2.INTER_AREA)
        small = cv2.sepFilter2D(small, cv2.CV_32F, kernel, np.ones(1, np.float32), borderType=cv2.BORDER_CONSTANT)
        total += np.roll(cv2.resize(small, (size, 1), interpolation=cv2.INTER_LINEAR)[0], -shift) / pool
    offset = np.arange(size) - size // 2
    spread = np.sqrt((total * offset**2).sum() / total.sum() - ((total * offset).sum() / total.sum()) ** 2)
    assert spread == pytest.approx(RATIO * size / 2, rel=0.04, abs=0.05)


def test_weights_lie_between_zero_and_one():
    levels = lit_weight(np.arange(256, dtype=np.float32))
    assert levels[int(GRAHAM["lit_from"])] == 0 and levels[int(GRAHAM["lit_to"])] == 1
    assert (np.diff(levels) >= 0).all()
    assert disc_weight(512, 4).shape == (128, 128)
    assert disc_weight(512, 4).sum() * 16 == pytest.approx(disc_mask(512, GRAHAM["disc"]).sum())


def test_grey_has_zero_mean_and_unit_variance_inside():
    crop = textured_crop(256)
    got = preprocess(crop, "grey").astype(float)
    mask = disc_mask(256, GREY["disc"]) & (crop.max(axis=2) > GREY["lit_from"])
    assert got[mask].mean() == pytest.approx(128, abs=1)
    assert got[mask].std() == pytest.approx(GREY["spread"], rel=0.05)
    assert (got[~mask] == 128).all()
    assert (got[..., 0] == got[..., 1]).all() and (got[..., 0] == got[..., 2]).all()


def test_preprocess_knows_its_methods():
    crop = textured_crop(128)
    np.testing.assert_array_equal(preprocess(crop, "crop"), crop)
    np.testing.assert_array_equal(preprocess(crop, "graham"), graham_normalise(crop, sigma_ratio=RATIO, gain=4))
    assert {preprocess(crop, method).dtype for method in PREPROCESS} == {np.dtype(np.uint8)}
    with pytest.raises(ValueError, match="Known: graham, crop, grey"):
        preprocess(crop, "clahe")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: graham_normalise(np.zeros((8, 9, 3), np.uint8), sigma_ratio=RATIO), "square crop"),
        (lambda: graham_normalise(np.zeros((8, 8, 3), np.float32), sigma_ratio=RATIO), "square crop"),
        (lambda: graham_normalise(textured_crop(64), sigma_ratio=0), "sigma_ratio"),
        (lambda: graham_normalise(textured_crop(64), sigma_ratio=RATIO, gain=0), "gain"),
        (
            lambda: graham_normalise(textured_crop(64), fov_mask=np.zeros((64, 64), bool), sigma_ratio=RATIO),
            "not empty",
        ),
        (lambda: grey_normalise(np.zeros((64, 64, 3), np.uint8)), "lit crop"),
        (lambda: preprocess(np.zeros((64, 60, 3), np.uint8), "crop"), "square crop"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
