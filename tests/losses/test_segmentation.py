"""Overlap losses against NumPy twins and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from dr_edge.losses import segmentation

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 2, (3, 6, 6, 2)).astype(np.float32)
LABELS = RANDOM.integers(0, 2, LOGITS.shape).astype(np.float32)
LABELS[1, ..., 0] = -1  # image 1 has no first mask
LABELS[2] = -1  # image 2 has none


def dice_twin(truth, drawn, smooth=1.0):
    return 1 - (2 * (truth * drawn).sum() + smooth) / (truth.sum() + drawn.sum() + smooth)


def tversky_twin(truth, drawn, alpha=0.7, beta=0.3, gamma=0.75, smooth=1.0):
    both = (truth * drawn).sum()
    faults = alpha * (truth * (1 - drawn)).sum() + beta * ((1 - truth) * drawn).sum()
    return (1 - (both + smooth) / (both + faults + smooth)) ** gamma


def bce_twin(truth, drawn):
    return -(truth * np.log(drawn) + (1 - truth) * np.log1p(-drawn)).mean()


def expected(twin):
    p = scipy.special.expit(LOGITS.astype(np.float64))
    pair = [twin(LABELS[0, ..., m], p[0, ..., m]) for m in (0, 1)]
    return [np.mean(pair), twin(LABELS[1, ..., 1], p[1, ..., 1]), 0.0]


@pytest.mark.parametrize(
    ("loss", "twin"),
    [
        (segmentation.dice(), dice_twin),
        (segmentation.dice(smooth=5.0), lambda t, p: dice_twin(t, p, 5.0)),
        (segmentation.focal_tversky(), tversky_twin),
        (
            segmentation.focal_tversky(alpha=0.5, beta=0.5, gamma=1.0, smooth=0.5),
            dice_twin,  # Tversky with halves is Dice
        ),
        (
            segmentation.bce_dice(bce_weight=0.5, dice_weight=2.0),
            lambda t, p: 0.5 * bce_twin(t, p) + 2 * dice_twin(t, p),
        ),
    ],
    ids=["dice", "smooth", "focal_tversky", "tversky_is_dice", "bce_dice"],
)
def test_values_and_gradients(loss, twin):
    """Values equal the twin's; autodiff's gradient equals central differences of the twin."""
    np.testing.assert_allclose(loss(tf.constant(LABELS), tf.constant(LOGITS)), expected(twin), rtol=1e-5, atol=1e-7)
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = tf.reduce_sum(loss(tf.constant(LABELS), logits))
    gradient = tape.gradient(value, logits).numpy()
    assert not gradient[2].any() and not gradient[1, ..., 0].any()
    for y, x, m in [(0, 0, 0), (3, 2, 1), (5, 5, 0)]:
        step = 1e-5
        ends = []
        for sign in (1, -1):
            moved = LOGITS[0].astype(np.float64)
            moved[y, x, m] += sign * step
            p = scipy.special.expit(moved)
            ends.append(np.mean([twin(LABELS[0, ..., k], p[..., k]) for k in (0, 1)]))
        assert gradient[0, y, x, m] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-3, abs=1e-8)


def test_extreme_and_half_precision_logits_stay_finite():
    label = tf.constant(np.stack([np.zeros((8, 8, 1)), np.ones((8, 8, 1))]), tf.float32)
    for factory in (segmentation.dice, segmentation.bce_dice, segmentation.focal_tversky):
        for value in (-6e4, 0.0, 6e4):
            logits = tf.fill(label.shape, tf.constant(value, tf.float16))
            with tf.GradientTape() as tape:
                tape.watch(logits)
                loss = factory()(label, logits)
            gradient = tape.gradient(loss, logits)
            assert np.isfinite(loss).all() and loss.dtype == tf.float32 and np.isfinite(gradient).all()
    perfect = tf.where(label > 0, 50.0, -50.0)
    np.testing.assert_allclose(segmentation.dice()(label, perfect), [0, 0], atol=1e-6)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="focal_tversky.gamma must be above 0"):
        segmentation.focal_tversky(gamma=0.0)
    with pytest.raises(ValueError, match="dice.smooth"):
        segmentation.dice(smooth=-1.0)
