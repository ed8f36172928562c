"""Exp-UWBCE against its formula in NumPy, and its gradient against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from dr_edge.losses import multilabel

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 2, (50, 2))
LABELS = RANDOM.choice([-1.0, 0.0, 0.3, 1.0], LOGITS.shape)
LABELS[:2] = -1


def formula(label, logits, w1, w2):
    """W1 (exp(-y log p) - 1) - W2 (1 - y) log(1 - p), word for word, mean over the known labels."""
    p = scipy.special.expit(logits)
    terms = w1 * (np.exp(-label * np.log(p)) - 1) - w2 * (1 - label) * np.log(1 - p)
    known = label >= 0
    return np.where(known, terms, 0).sum(-1) / np.maximum(known.sum(-1), 1)


def test_values_equal_the_formula():
    value = multilabel.exp_uwbce(2.0, 0.5)(tf.constant(LABELS, tf.float32), tf.constant(LOGITS, tf.float32))
    np.testing.assert_allclose(value, formula(LABELS, LOGITS, 2.0, 0.5), rtol=1e-5)
    assert value.shape == (50,) and not value.numpy()[:2].any()  # nothing known, nothing lost


def test_gradient_equals_finite_differences():
    logits = tf.constant(LOGITS, tf.float32)
    loss = multilabel.exp_uwbce(2.0, 0.5)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total = tf.reduce_sum(loss(tf.constant(LABELS, tf.float32), logits))
    gradient, step = tape.gradient(total, logits).numpy(), 1e-5
    for index in np.ndindex(LOGITS.shape):
        moved = np.zeros_like(LOGITS)
        moved[index] = step
        ends = [formula(LABELS, LOGITS + sign * moved, 2.0, 0.5).sum() for sign in (1, -1)]
        assert gradient[index] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("dtype", [tf.float16, tf.float32])
def test_a_probability_of_zero_is_survived(dtype):
    """log 0: the loss stays finite, its gradient too, in the dtype of the logits, and still points upwards."""
    logits = tf.constant([[-6e4], [-200.0], [-20.0], [0.0], [200.0]], dtype)
    label = tf.ones([5, 1])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = multilabel.exp_uwbce()(label, logits)
    gradient = tape.gradient(value, logits).numpy()
    assert np.isfinite(value).all() and np.isfinite(gradient).all() and gradient.dtype == dtype.as_numpy_dtype
    assert (np.diff(value.numpy()) < 0).all() and (gradient[:3] < -9e3).all() and value.dtype == tf.float32
    healthy = multilabel.exp_uwbce()(tf.zeros([1, 1]), tf.constant([[6e4]], dtype))
    assert np.isfinite(healthy).all()


def test_the_tangent_joins_smoothly():
    """At the smallest exact probability, value and slope of both parts agree."""
    loss = multilabel.exp_uwbce(smallest_probability=0.01)
    edge = scipy.special.logit(0.01)
    z = tf.constant(edge + np.array([[-1e-2], [-1e-3], [1e-3], [1e-2]]), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = loss(tf.ones([4, 1]), z)
    gradient = tape.gradient(value, z).numpy()[:, 0]
    np.testing.assert_allclose(value, 1 / 0.01 - 1, rtol=0.02)
    np.testing.assert_allclose(gradient, -99.0, rtol=0.02)


def test_where_an_undecided_network_settles():
    """The constant of least expected loss solves p^2 / (1 - p) = W1 q / (W2 (1 - q)): 0.5 for W1 = 2, q = 0.2."""
    z = np.linspace(-2, 2, 4001)
    tiled = tf.constant(z[:, None], tf.float32)
    for weight, answer in ((1.0, 0.39), (2.0, 0.5)):
        loss = multilabel.exp_uwbce(positive_weight=weight)
        expected = 0.2 * loss(tf.ones_like(tiled), tiled).numpy() + 0.8 * loss(tf.zeros_like(tiled), tiled).numpy()
        assert scipy.special.expit(z[expected.argmin()]) == pytest.approx(answer, abs=0.005)


def test_bad_settings_are_refused():
    for settings in ({"positive_weight": -1.0}, {"smallest_probability": 0.0}, {"smallest_probability": 1.0}):
        with pytest.raises(ValueError, match="exp_uwbce needs"):
            multilabel.exp_uwbce(**settings)
