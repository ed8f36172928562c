"""The quality inside a graph against the one that records are built with, and what the layer promises."""

from __future__ import annotations

import functools

import cv2
import keras
import numpy as np
import pytest

from dr_edge.bundle_files.together import QUALITY
from dr_edge.fundus.crop import crop_square, disc_mask
from dr_edge.fundus.fov import find_fov
from dr_edge.fundus.quality import DEFAULT_MIN_QUALITY, quality
from dr_edge.fundus.quality_layer import NAMES, PhotographQuality, plan
from tfrecord_tools.synthetic.draw import draw_fundus

SIZES = (64, 96, 128, 224, 256, 299, 384, 512)
WITHIN = 0.02


@functools.cache
def photograph(seed: int) -> np.ndarray:
    return draw_fundus(seed, grade=seed % 5, size=900).image


def crops(size: int) -> dict[str, np.ndarray]:
    """Drawn crops of [size, size, 3], good and poor in every way that the measure knows."""
    found = {f"drawn {seed}": crop_square(photograph(seed), find_fov(photograph(seed)), size) for seed in range(4)}
    eye = found["drawn 1"]
    for sigma in (0.5, 1, 2, 4, 8, 16):
        found[f"blurred {sigma}"] = cv2.GaussianBlur(eye, (0, 0), sigma * size / 512)
    for level in (0.03, 0.1, 0.2, 0.3, 0.5):
        found[f"dark {level}"] = (eye * level).astype(np.uint8)
    for gain, added in ((1.5, 20), (2.5, 0), (3, 60), (6, 60)):
        found[f"burnt {gain}"] = np.clip(eye.astype(float) * gain + added, 0, 255).astype(np.uint8)
    for part in (0.15, 0.3, 0.5, 0.7):
        left, middle = eye.copy(), eye * disc_mask(size, part)[..., None].astype(np.uint8)
        left[:, int(part * size) :] = 0
        found |= {f"left {part}": left, f"middle {part}": middle}
    found["grey"] = cv2.merge([cv2.cvtColor(eye, cv2.COLOR_RGB2GRAY)] * 3)
    found["unevenly lit"] = (eye * np.linspace(0.05, 1, size)[None, :, None]).astype(np.uint8)
    return found | {"black": np.zeros_like(eye), "white": np.full_like(eye, 255)}


def measured(given: np.ndarray, **options: bool) -> np.ndarray:
    """Returns [B, 6] of [B, S, S, 3] uint8."""
    image = keras.Input((*given.shape[1:3], 3))
    return np.asarray(keras.Model(image, PhotographQuality(**options)(image))(given.astype(np.float32)))


@pytest.mark.parametrize("size", SIZES)
def test_it_is_what_records_are_built_with(size):
    found = crops(size)
    values = measured(np.stack(list(found.values())))
    scores, away = [], []
    for name, own, crop in zip(found, values, found.values(), strict=True):
        expected = quality(crop)
        assert own[0] == pytest.approx(expected.score, abs=0.035), name
        if abs(expected.score - DEFAULT_MIN_QUALITY) > WITHIN:
            assert (own[0] >= DEFAULT_MIN_QUALITY) == (expected.score >= DEFAULT_MIN_QUALITY), name
        for part, value in zip(NAMES, own, strict=True):
            assert value == pytest.approx(getattr(expected, part), abs=0.1), (name, part)
        scores.append(expected.score)
        away.append(abs(float(own[0]) - expected.score))
    assert np.mean(np.array(away) <= WITHIN) >= 0.93, sorted(away)[-4:]  # most of these are poorer than real ones
    assert min(scores) == 0 and max(scores) > 0.6  # else nothing was compared
    assert ((values >= 0) & (values <= 1.001)).all()


def test_black_is_zero():
    assert not measured(np.zeros((1, 96, 96, 3), np.uint8)).any()


@pytest.mark.parametrize("size", [96, 224])
def test_each_of_a_batch_is_measured_for_itself_and_both_layouts_say_the_same(size):
    given = np.stack(list(crops(size).values())[:6])
    together = measured(given)
    np.testing.assert_allclose(np.concatenate([measured(each[None]) for each in given]), together, atol=1e-5)
    np.testing.assert_allclose(measured(given, side_by_side=False), together, atol=1e-5)


def test_it_has_no_weights_and_survives_saving():
    layer = PhotographQuality(side_by_side=False)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.side_by_side is False
    copy.build((None, 64, 64, 3))
    assert not copy.weights and copy.compute_output_shape((None, 64, 64, 3)) == (None, len(NAMES))


@pytest.mark.parametrize("shape", [(None, 31, 31, 3), (None, 64, 65, 3), (None, None, None, 3), (None, 64, 64)])
def test_what_cannot_be_measured_is_refused(shape):
    with pytest.raises(ValueError, match=r"S known and >= 32. Received: \(None"):
        PhotographQuality().build(shape)


def test_every_size_is_reduced_to_an_even_copy():
    for size in range(32, 2000):
        made = plan(size)
        assert made.side % 2 == 0 and 110 <= made.side <= 223
        assert made.start >= 0 and (size < 112 or 0 <= size - made.side * made.pool - 2 * made.start <= 1)


def test_an_answer_finds_every_value_by_its_name():
    assert NAMES == QUALITY
