"""Augmentation against OpenCV's affine warp, eagerly and inside tf.data."""

from __future__ import annotations

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


def test_a_strength_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="augmentation.zoom must be within 0..0.9. Received: 2"):
        augment.augmentation(zoom=2.0)
