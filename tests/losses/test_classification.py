"""Losses against NumPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import sklearn.metrics
import tensorflow as tf

from dr_edge.losses import classification

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 3, (40, 3)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 40)


def test_cross_entropy_equals_scikit_learns():
    value = classification.cross_entropy()(tf.constant(LABELS, tf.int32), tf.constant(LOGITS))
    expected = sklearn.metrics.log_loss(LABELS, scipy.special.softmax(LOGITS.astype(np.float64), -1))
    assert value.shape == (40,) and np.mean(value) == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_and_class_weights_follow_their_formula():
    log_p = scipy.special.log_softmax(LOGITS.astype(np.float64), -1)
    target = np.eye(3)[LABELS] * 0.9 + 0.1 / 3
    weights = np.array([1.0, 2.0, 5.0])
    expected = -(target * log_p).sum(-1) * weights[LABELS]
    value = classification.cross_entropy(0.1, (1.0, 2.0, 5.0))(tf.constant(LABELS, tf.int32), tf.constant(LOGITS))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_binary_cross_entropy_masks_what_is_missing():
    label = np.array([[1, 0, -1], [-1, -1, -1], [0, 1, 1]], np.float32)
    logits = LOGITS[:3]
    p = scipy.special.expit(logits.astype(np.float64))
    terms = np.where(label == 1, -3.0 * np.log(p), -np.log1p(-p))
    expected = [terms[0, :2].mean(), 0.0, terms[2].mean()]
    value = classification.binary_cross_entropy(positive_weight=3.0)(tf.constant(label), tf.constant(logits))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_follows_the_papers_formula(gamma):
    p = scipy.special.softmax(LOGITS.astype(np.float64), -1)[np.arange(40), LABELS]
    weights = np.array([1.0, 2.0, 5.0])
    expected = -weights[LABELS] * (1 - p) ** gamma * np.log(p)
    value = classification.focal(gamma, (1.0, 2.0, 5.0))(tf.constant(LABELS, tf.int32), tf.constant(LOGITS))
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.0, None), (1.5, 0.9)])
def test_binary_focal_follows_the_papers_formula_and_masks_what_is_missing(gamma, alpha):
    label = np.array([[1, 0, -1], [-1, -1, -1], [0, 1, 1]], np.float32)
    p = scipy.special.expit(LOGITS[:3].astype(np.float64))
    positive, negative = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    terms = np.where(label == 1, -positive * (1 - p) ** gamma * np.log(p), -negative * p**gamma * np.log1p(-p))
    expected = [terms[0, :2].mean(), 0.0, terms[2].mean()]
    value = classification.binary_focal(gamma, alpha)(tf.constant(label), tf.constant(LOGITS[:3]))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_expected_grade_is_the_squared_distance_of_the_mean_grade():
    mean = scipy.special.softmax(LOGITS.astype(np.float64), -1) @ np.arange(3)
    value = classification.expected_grade()(tf.constant(LABELS, tf.int32), tf.constant(LOGITS))
    np.testing.assert_allclose(value, (mean - LABELS) ** 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        classification.focal(),
        classification.focal(0.5),
        classification.expected_grade(),
        classification.cross_entropy(0.1),
    ],
)
def test_gradients_equal_finite_differences(loss):
    label, step = tf.constant(LABELS[:6], tf.int32), 1e-2
    logits = tf.constant(LOGITS[:6])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total = tf.reduce_sum(loss(label, logits))
    gradient = tape.gradient(total, logits).numpy()
    for place in np.ndindex(6, 3):
        moved = np.zeros((6, 3), np.float32)
        moved[place] = step
        difference = tf.reduce_sum(loss(label, logits + moved) - loss(label, logits - moved)) / (2 * step)
        assert float(difference) == pytest.approx(gradient[place], abs=2e-3, rel=1e-2)


@pytest.mark.parametrize(("label", "far"), [(1, 200.0), (0, -200.0)])
def test_focal_has_a_finite_gradient_where_the_answer_is_certain(label, far):
    logits = tf.constant([[0.0, far]])
    for loss, target in (
        (classification.focal(0.5), tf.constant([label])),
        (classification.binary_focal(0.5), tf.constant([[0.0, label]])),
    ):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(target, logits)
        assert np.isfinite(value).all() and np.isfinite(tape.gradient(value, logits)).all()


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="gamma must be at least 0"):
        classification.focal(gamma=-1.0)
    with pytest.raises(ValueError, match="alpha must be within 0..1"):
        classification.binary_focal(alpha=1.5)
    with pytest.raises(ValueError, match="within 0..1"):
        classification.cross_entropy(label_smoothing=1.5)
    with pytest.raises(ValueError, match="class_weights needs 3 values"):
        classification.cross_entropy(class_weights=(1.0, 2.0))(tf.constant(LABELS, tf.int32), tf.constant(LOGITS))
