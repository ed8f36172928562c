"""Blur, JPEG and cut-out: eagerly and inside tf.data, against OpenCV and NumPy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tensorflow as tf

from dr_edge.data import augment, degrade

SIZE = 64


@pytest.fixture
def photograph() -> np.ndarray:
    """A smooth lit disc on grey 128, [64, 64, 3] float32."""
    image = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32), (0, 0), 1.5)
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    image[rows**2 + columns**2 > 26**2] = 128.0
    return np.rint(image)


@pytest.mark.parametrize("sigma", [0.4, 1.3, 3.0])
def test_blur_equals_opencvs(sigma, photograph):
    ours = degrade.gaussian_blur(tf.constant(photograph), tf.constant(sigma), 9).numpy()
    theirs = cv2.GaussianBlur(photograph, (19, 19), sigma, borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_a_sigma_of_zero_changes_nothing(photograph):
    np.testing.assert_allclose(
        degrade.gaussian_blur(tf.constant(photograph), tf.constant(0.0), 3), photograph, atol=1e-4
    )


@pytest.mark.parametrize("quality", [90, 40, 8])
def test_recompression_equals_opencvs(quality, photograph):
    ours = degrade.recompress(tf.constant(photograph), tf.constant(quality)).numpy()
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    data = cv2.imencode(".jpg", photograph[..., ::-1].astype(np.uint8), options)[1]
    theirs = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32)
    assert np.abs(ours - theirs).mean() < 1.5  # the two libraries round chroma differently
    damage = np.abs(theirs - photograph).mean()
    assert damage > 1.0 and abs(np.abs(ours - photograph).mean() - damage) < 0.15 * damage


def test_the_hidden_disc_lies_in_the_field_of_view_and_has_its_mean_colour(photograph):
    seen = np.abs(photograph - 128.0).max(-1) > degrade.LIT_ABOVE
    mean = photograph[seen].mean(0)
    centres = []
    for number in range(40):
        hidden = degrade.hide_disc(tf.constant(photograph), tf.constant([number, 0]), tf.constant(7.0), 128.0).numpy()
        changed = np.abs(hidden - photograph).max(-1) > 0
        assert changed.any() and not changed[~seen].any()
        np.testing.assert_allclose(hidden[changed], np.broadcast_to(mean, (changed.sum(), 3)), rtol=1e-4)
        rows, columns = np.nonzero(changed)
        assert max(np.ptp(rows), np.ptp(columns)) <= 14
        centres.append((rows.mean(), columns.mean()))
    assert np.std(centres, axis=0).min() > 6  # all over the field of view


def test_nothing_is_hidden_where_nothing_is_lit():
    dark = np.full((SIZE, SIZE, 3), 128.0, np.float32)
    np.testing.assert_array_equal(
        degrade.hide_disc(tf.constant(dark), tf.constant([1, 1]), tf.constant(9.0), 128.0), dark
    )


@pytest.mark.parametrize("setting", [{"blur": 0.03}, {"jpeg": 0.8}, {"cutout": 0.2}])
def test_each_is_the_same_eagerly_and_in_tf_data_and_spares_half(setting, photograph):
    function = augment.augmentation(rotation=0.0, flip=False, **setting)
    image, label = tf.constant(photograph), tf.constant(1)
    seeds = tf.stack([tf.range(60), tf.zeros(60, tf.int32)], 1)
    eager = [function(image, label, seed, 128.0)[0].numpy() for seed in seeds]
    dataset = tf.data.Dataset.from_tensor_slices(seeds).map(lambda seed: function(image, label, seed, 128.0)[0])
    for left, right in zip(eager, dataset.as_numpy_iterator(), strict=True):
        np.testing.assert_allclose(right, left, atol=1e-3)
    untouched = sum(np.array_equal(one, photograph) for one in eager)
    assert 15 <= untouched <= 45
    assert len({one.tobytes() for one in eager}) > 15  # and their strengths differ


def test_switching_them_on_leaves_the_other_draws_alone(photograph):
    image, label, seed = tf.constant(photograph), tf.constant(0), tf.constant([11, 2])
    plain = augment.augmentation(rotation=90.0, brightness=0.1)(image, label, seed, 128.0)[0]
    hidden = augment.augmentation(rotation=90.0, brightness=0.1, cutout=0.1)(image, label, seed, 128.0)[0]
    assert np.mean(np.abs(hidden - plain).max(-1) < 1e-3) > 0.9
