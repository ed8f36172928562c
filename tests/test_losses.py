"""Losses against NumPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import sklearn.metrics
import tensorflow as tf

from dr_edge import losses

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 3, (40, 3)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 40)


def test_cross_entropy_equals_scikit_learns():
    value = losses.cross_entropy()(tf.constant(LABELS, tf.int32), tf.constant(LOGITS))
    expected = sklearn.metrics.log_loss(LABELS, scipy.special.softmax(LOGITS.astype(np.float64), -1))
    assert value.shape == (40,) and np.mean(value) == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_and_class_weights_follow_their_formula():
    log_p = scipy.special.log_softmax(LOGITS.astype(np.float64), -1)
    target = np.eye(3)[LABELS] * 0.9 + 0.1 / 3
    weights = np.array([1.0, 2.0, 5.0])
    expected = -(target * log_p).sum(-1) * weights[LABELS]
    value = losses.cross_entropy(0.1, (1.0, 2.0, 5.0))(tf.constant(LABELS, tf.int32), tf.constant(LOGITS))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_binary_cross_entropy_masks_what_is_missing():
    label = np.array([[1, 0, -1], [-1, -1, -1], [0, 1, 1]], np.float32)
    logits = LOGITS[:3]
    p = scipy.special.expit(logits.astype(np.float64))
    terms = np.where(label == 1, -3.0 * np.log(p), -np.log1p(-p))
    expected = [terms[0, :2].mean(), 0.0, terms[2].mean()]
    value = losses.binary_cross_entropy(positive_weight=3.0)(tf.constant(label), tf.constant(logits))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="within 0..1"):
        losses.cross_entropy(label_smoothing=1.5)
    with pytest.raises(ValueError, match="class_weights needs 3 values"):
        losses.cross_entropy(class_weights=(1.0, 2.0))(tf.constant(LABELS, tf.int32), tf.constant(LOGITS))
