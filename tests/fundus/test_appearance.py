"""What kind of picture a photograph is: swapped channels, greyscale, normalised already; and who takes which."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import pytest

from dr_edge.fundus.appearance import (
    COLOUR,
    GREYSCALE,
    KINDS,
    NORMALISED,
    ORDERS,
    appearance,
    check_kind,
    wanted,
)
from dr_edge.fundus.crop import crop_square
from dr_edge.fundus.fov import find, find_fov
from dr_edge.fundus.gradability import NotFundusError
from dr_edge.fundus.graham import preprocess
from dr_edge.fundus.read_crop import read_crop
from tfrecord_tools import process
from tfrecord_tools.items import Item
from tfrecord_tools.synthetic.draw import draw_fundus

SEEDS = range(8)


@functools.cache
def eye(seed: int, size: int = 320) -> np.ndarray:
    return np.ascontiguousarray(draw_fundus(seed, size=size).image)


def grey(image: np.ndarray) -> np.ndarray:
    return cv2.merge([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)] * 3)


def normalised(image: np.ndarray, sigma: float, kept: float = 1.0, around: int = 0, jpeg: int = 0) -> np.ndarray:
    """Normalises as is usual: blur sigma as a fraction of the radius, then a disc of `kept` radii on a grey level of
    `around`.
    """
    crop = crop_square(image, find_fov(image), 320)
    out = cv2.addWeighted(crop, 4, cv2.GaussianBlur(crop, (0, 0), sigma * 160), -4, 128)
    disc = np.zeros((320, 320, 1), np.uint8)
    cv2.circle(disc, (160, 160), int(160 * kept), 1, -1)
    out = np.where(disc, out, around).astype(np.uint8)
    return (
        out
        if not jpeg
        else cv2.imdecode(cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, jpeg])[1], cv2.IMREAD_COLOR)
    )


def encoded(image: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, image[..., ::-1])[1].tobytes()


@pytest.mark.parametrize("seed", SEEDS)
def test_synthetic_photographs_are_in_colour(seed):
    assert find(eye(seed)).kind == COLOUR
    # The upper half of the light and a strong cast of it: still a retina.
    assert find((eye(seed) * [0.9, 1.0, 1.0]).astype(np.uint8)).kind == COLOUR


@pytest.mark.parametrize("order", ORDERS)
def test_channels_in_another_order_are_refused(order):
    for seed in SEEDS:
        swapped = np.ascontiguousarray(eye(seed)[..., ["RGB".index(channel) for channel in order]])
        with pytest.raises(NotFundusError, match="BGR" if order == "BGR" else "order") as caught:
            find_fov(swapped)
        assert caught.value.reason == "colours"


def test_inverted_colours_are_refused():
    for seed in SEEDS:
        with pytest.raises(NotFundusError) as caught:
            find_fov(255 - eye(seed))
        assert caught.value.reason in ("colours", "no field of view")


@pytest.mark.parametrize("seed", SEEDS)
def test_greyscale_is_told_from_pale(seed):
    image = eye(seed)
    assert find(grey(image)).kind == GREYSCALE
    pale = (0.35 * image.astype(np.float32) + 0.65 * grey(image)).astype(np.uint8)
    assert find(pale).kind == COLOUR


@pytest.mark.parametrize("tint", [(1.05, 1, 0.95), (1.0, 0.8, 0.6), (0.7, 1, 0.6), (1, 0.97, 0.9)])
def test_greyscale_in_one_tint_is_no_colour(tint):
    for seed in SEEDS:
        tinted = np.clip(grey(eye(seed)) * np.array(tint), 0, 255).astype(np.uint8)
        assert find(tinted).kind == GREYSCALE
        nearly = (0.9 * grey(eye(seed)) + 0.1 * eye(seed)).astype(np.uint8)
        assert find(nearly).kind == GREYSCALE


@pytest.mark.parametrize("seed", SEEDS)
def test_a_picture_in_the_red_channel_alone_is_refused(seed):
    with pytest.raises(NotFundusError, match="colours: only its red channel"):
        find(eye(seed) * np.array([1, 0, 0], np.uint8))
    with pytest.raises(NotFundusError, match="only its red channel"):
        find(cv2.merge([grey(eye(seed))[..., 0], np.full_like(eye(seed)[..., 0], 3), np.zeros_like(eye(seed)[..., 0])]))


@pytest.mark.parametrize(
    "how",
    [
        {"sigma": 1 / 30},
        {"sigma": 1 / 15, "kept": 0.9},
        {"sigma": 1 / 10, "kept": 0.9, "around": 128},
        {"sigma": 1 / 8, "jpeg": 75},
    ],
)
def test_what_is_normalised_already_is_recognised_and_found(how):
    for seed in SEEDS:
        found = find(normalised(eye(seed), **how))
        assert found.kind == NORMALISED
        assert found.fov.radius == pytest.approx(160 * how.get("kept", 1.0), rel=0.06)


def test_a_jpeg_of_one_on_grey_is_recognised_whether_its_disc_is_clear_or_not():
    for seed in SEEDS:
        data = encoded(normalised(eye(seed), 1 / 15, around=128, jpeg=80))
        assert read_crop(data, 96).refusal.reason == "already normalised"


def test_our_own_normalisation_is_recognised():
    for seed in SEEDS:
        own = preprocess(crop_square(eye(seed), find_fov(eye(seed)), 320), "graham")
        assert find(own).kind == NORMALISED


def test_each_preprocessing_takes_its_kinds():
    assert wanted("graham") == wanted("graham", {GREYSCALE: 9}) == (COLOUR,)
    assert wanted("grey") == (COLOUR, GREYSCALE)
    assert wanted("crop") == KINDS  # older records do not say
    assert wanted("crop", {COLOUR: 95, GREYSCALE: 5}) == (COLOUR,)
    assert wanted("crop", {NORMALISED: 40}) == (NORMALISED,)


@pytest.mark.parametrize(
    ("kind", "pictures", "reason", "advice"),
    [
        (GREYSCALE, (COLOUR,), "greyscale", "--preprocess=grey"),
        (NORMALISED, (COLOUR,), "already normalised", "--preprocess=crop"),
        (GREYSCALE, (NORMALISED,), "greyscale", "Graham-normalised photographs are needed"),
        (COLOUR, (NORMALISED,), "another kind", "trained on Graham-normalised"),
        ("BGR", KINDS, "colours", "red, green, blue"),
    ],
)
def test_another_kind_is_refused_with_what_to_do(kind, pictures, reason, advice):
    check_kind(pictures[0], pictures)
    with pytest.raises(NotFundusError, match=advice) as caught:
        check_kind(kind, pictures)
    assert caught.value.reason == reason


def test_what_is_read_for_an_answer_is_held_against_the_kinds_of_the_model():
    image = eye(3)
    assert read_crop(encoded(image), 96).crop is not None
    assert read_crop(encoded(grey(image)), 96).refusal.reason == "greyscale"
    assert read_crop(encoded(grey(image)), 96, pictures=(COLOUR, GREYSCALE)).crop is not None
    assert read_crop(encoded(image), 96, pictures=(NORMALISED,)).refusal.reason == "another kind"
    assert read_crop(encoded(normalised(image, 1 / 30)), 96).refusal.reason == "already normalised"
    assert read_crop(encoded(np.ascontiguousarray(image[..., ::-1])), 96, pictures=KINDS).refusal.reason == "colours"


@pytest.mark.parametrize(
    ("method", "taken"),
    [("graham", {COLOUR}), ("grey", {COLOUR, GREYSCALE}), ("crop", {COLOUR, GREYSCALE, NORMALISED})],
)
def test_records_take_what_their_preprocessing_can_be_given(method, taken, tmp_path):
    image = eye(4)
    pictures = {COLOUR: image, GREYSCALE: grey(image), NORMALISED: normalised(image, 1 / 20)}
    for kind, picture in pictures.items():
        (tmp_path / f"{kind}.png").write_bytes(encoded(picture))
        outcome = process.process(Item("eye", f"{kind}.png", "p"), process.Settings(str(tmp_path), 96, method))
        assert (outcome.record is not None) == (kind in taken), (kind, outcome.reason)
        assert outcome.kind == kind if kind in taken else outcome.reason.startswith(("greyscale", "already normalised"))


def test_a_probe_of_another_size_is_named():
    with pytest.raises(ValueError, match="appearance needs"):
        appearance(np.zeros((64, 64, 3), np.uint8))


def test_what_is_too_dark_to_tell_counts_as_colour():
    assert appearance(np.full((96, 96, 3), 5, np.uint8)) == COLOUR
