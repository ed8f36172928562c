"""Augmentation against OpenCV's affine warp, eagerly and inside tf.data."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from dr_edge.data import augment

SIZE = 41


def forward_matrix(angle, offset, scale, shear, mirror):
    """The map from input to output pixels, written out from its parts (independent of the inverse in augment.py)."""
    a, s = np.deg2rad(angle), np.tan(np.deg2rad(shear))
    rotate = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    linear = scale * rotate @ np.array([[1, s], [0, 1]]) @ np.diag(mirror)
    centre = np.full(2, (SIZE - 1) / 2)
    return np.column_stack([linear, centre + np.asarray(offset) * SIZE - linear @ centre])


@pytest.mark.parametrize(
    "move",
    [
        {"angle": 30.0, "offset": (0.0, 0.0), "scale": 1.0, "shear": 0.0, "mirror": (1.0, 1.0)},
        {"angle": 0.0, "offset": (0.1, -0.2), "scale": 1.3, "shear": 0.0, "mirror": (-1.0, 1.0)},
        {"angle": -75.0, "offset": (0.05, 0.1), "scale": 0.8, "shear": 20.0, "mirror": (1.0, -1.0)},
    ],
)
def test_the_warp_equals_opencvs(move):
    image = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32), (0, 0), 2)
    matrix = augment.inverse_affine(SIZE, **{key: tf.constant(value) for key, value in move.items()})
    ours = augment.warp(tf.constant(image), matrix, "BILINEAR", 128.0).numpy()
    theirs = cv2.warpAffine(
        image, forward_matrix(**move), (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT,
        borderValue=(128.0,) * 3,
    )  # fmt: skip
    # OpenCV rounds sample places to 1/32 pixel, and the two blend the outermost pixel with the fill differently.
    differences = np.abs(ours - theirs)
    assert np.median(differences) < 0.5 and np.quantile(differences, 0.95) < 6


def test_masks_move_with_the_image():
    mask = np.zeros((SIZE, SIZE, 1), np.float32)
    mask[8:15, 20:33] = 1.0
    image = np.repeat(mask * 200.0, 3, axis=-1)
    function = augment.augmentation(rotation=180.0, shift=0.1, zoom=0.2, shear=10.0, flip=True)
    for number in range(5):
        moved, label = function(tf.constant(image), tf.constant(mask), tf.constant([number, 0]), 0.0)
        found, truth = moved.numpy()[..., 0] > 100.0, label.numpy()[..., 0] > 0.5
        assert set(np.unique(label)) <= {0.0, 1.0}
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.9


@pytest.mark.parametrize(
    "move",
    [
        {"angle": 30.0, "offset": (0.0, 0.0), "scale": 1.0, "shear": 0.0, "mirror": (1.0, 1.0)},
        {"angle": -75.0, "offset": (0.05, 0.1), "scale": 0.8, "shear": 20.0, "mirror": (1.0, -1.0)},
    ],
)
def test_points_move_by_the_forward_matrix(move):
    points = np.array([[10.5, 20.5], [33.0, 7.25], [np.nan, np.nan]], np.float32)
    matrix = augment.inverse_affine(SIZE, **{key: tf.constant(value) for key, value in move.items()})
    expected = (points - 0.5) @ forward_matrix(**move)[:, :2].T + forward_matrix(**move)[:, 2] + 0.5
    np.testing.assert_allclose(augment.move_points(tf.constant(points), matrix), expected, atol=1e-3)


def test_centres_stay_on_what_they_mark_eagerly_and_in_tf_data():
    image = np.zeros((SIZE, SIZE, 3), np.float32)
    image[24:27, 14:17] = 250.0
    centre = tf.constant([[15.5, 25.5]])
    function = augment.augmentation(rotation=180.0, shift=0.1, zoom=0.2, shear=10.0, flip=True, brightness=0.1)
    seeds = tf.constant([[number, 0] for number in range(8)])
    dataset = tf.data.Dataset.from_tensor_slices(seeds).map(
        lambda s: function(tf.constant(image), tf.constant(1), s, 0.0, centre)
    )
    for seed, inside in zip(seeds, dataset.as_numpy_iterator(), strict=True):
        moved, _, point = function(tf.constant(image), tf.constant(1), seed, 0.0, centre)
        weights = moved.numpy().sum(-1)
        rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
        found = [(weights * columns).sum() / weights.sum(), (weights * rows).sum() / weights.sum()]
        np.testing.assert_allclose(point[0], found, atol=0.3)
        np.testing.assert_allclose(inside[2], point, atol=1e-3)


@pytest.mark.parametrize(
    ("label", "changes"),
    [(0, False), (1, True), (3, True), ([0.0, 0.0], False), ([-1.0, 0.0], False), ([0.0, 1.0], True)],
)
def test_only_unhealthy_leaves_healthy_examples_alone(label, changes):
    image = np.random.default_rng(2).uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32)
    function = augment.augmentation(rotation=90.0, brightness=0.1, only_unhealthy=True)

    def call(image, label):
        return function(image, label, tf.constant([5, 6]), 0.0)

    out, same = call(tf.constant(image), tf.constant(label))
    assert np.array_equal(out, image) != changes
    np.testing.assert_array_equal(same, label)
    dataset = tf.data.Dataset.from_tensors((tf.constant(image), tf.constant(label))).map(call)
    np.testing.assert_allclose(next(dataset.as_numpy_iterator())[0], out, atol=1e-3)


def test_only_unhealthy_needs_labels():
    function = augment.augmentation(only_unhealthy=True)
    with pytest.raises(ValueError, match="masks do not"):
        function(tf.zeros([8, 8, 3]), tf.zeros([8, 8, 1]), tf.constant([1, 2]), 0.0)


def test_the_same_seed_gives_the_same_example_eagerly_and_in_tf_data():
    function = augment.augmentation(rotation=90.0, zoom=0.1, brightness=0.2, contrast=0.2, saturation=0.3, hue=0.02)
    image = tf.constant(np.random.default_rng(1).uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32))
    label, seed = tf.constant(1), tf.constant([3, 4])
    eager = function(image, label, seed, 0.0)[0].numpy()
    dataset = tf.data.Dataset.from_tensors((image, label, seed)).map(lambda i, n, s: function(i, n, s, 0.0)[0])
    np.testing.assert_allclose(next(dataset.as_numpy_iterator()), eager, atol=1e-3)
    assert not np.allclose(function(image, label, tf.constant([3, 5]), 0.0)[0].numpy(), eager)


def test_colour_changes_leave_the_outside_of_the_field_of_view_alone():
    image = np.full((SIZE, SIZE, 3), 128.0, np.float32)
    image[10:30, 10:30] = (180.0, 90.0, 60.0)
    function = augment.augmentation(rotation=0.0, flip=False, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.05)
    changed = function(tf.constant(image), tf.constant(0), tf.constant([1, 2]), 128.0)[0].numpy()
    assert (changed[:10] == 128.0).all() and not np.allclose(changed[20, 20], image[20, 20])


@pytest.mark.parametrize("number", [1, 2, 3])
def test_colours_change_as_in_numpy(number):
    """Contrast about the mean, then saturation about grey, then hue (colorsys), then brightness, as the seed draws."""
    image = np.random.default_rng(number).uniform(70, 180, (12, 12, 3)).astype(np.float32)
    seed = tf.constant([number, 9])
    contrast, saturation, hue, brightness = (
        tf.random.stateless_uniform([12], seed, -1.0, 1.0).numpy()[7:11].astype(np.float64)
    )
    expected = (image - image.mean((0, 1))) * (1 + 0.2 * contrast) + image.mean((0, 1))
    grey = expected.mean(-1, keepdims=True)
    expected = (expected - grey) * (1 + 0.3 * saturation) + grey
    for place in np.ndindex(12, 12):
        h, s, v = colorsys.rgb_to_hsv(*(expected[place] / 255))
        expected[place] = 255 * np.array(colorsys.hsv_to_rgb((h + 0.05 * hue) % 1.0, s, v))
    expected += 0.1 * brightness * 255
    function = augment.augmentation(rotation=0.0, flip=False, contrast=0.2, saturation=0.3, hue=0.05, brightness=0.1)
    found = function(tf.constant(image), tf.constant(0), seed, 0.0)[0]
    np.testing.assert_allclose(found, np.clip(expected, 0, 255), atol=0.05)


def test_a_strength_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="augmentation.zoom must be within 0..0.9. Received: 2"):
        augment.augmentation(zoom=2.0)
