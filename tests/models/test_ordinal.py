"""Ordinal heads: CORN against its paper's loss on conditional subsets, regression against the normal density; both
survive saving.
"""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from dr_edge.losses import classification as classification_losses
from dr_edge.models import ordinal
from dr_edge.models.resnet_v2_slim import resnet_v2_slim

SMALL = functools.partial(resnet_v2_slim, channels=(4,), stem_channels=4)
IMAGES = np.random.default_rng(0).uniform(0, 255, (12, 32, 32, 3)).astype(np.float32)
GRADES = np.arange(12) % 5


@pytest.fixture
def corn() -> keras.Model:
    keras.utils.set_random_seed(3)
    model = ordinal.corn(32, 5, model=SMALL)
    model.get_layer(ordinal.SCORES).set_weights(
        [np.random.default_rng(1).normal(0, 5, (4, 4)), np.array([2.0, 0.5, -1, 3])]
    )
    return model


def scores_of(model: keras.Model) -> np.ndarray:
    layer = model.get_layer(ordinal.SCORES)
    return np.asarray(keras.Model(model.input, layer.output)(IMAGES), np.float64)


def test_corn_gives_products_of_conditional_probabilities(corn):
    above = scipy.special.expit(scores_of(corn))
    expected = np.ones((12, 5))
    for k in range(5):
        for before in range(k):
            expected[:, k] *= above[:, before]
        if k < 4:
            expected[:, k] *= 1 - above[:, k]
    found = scipy.special.softmax(np.asarray(corn(IMAGES), np.float64), -1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(expected.sum(1), 1)
    np.testing.assert_allclose(np.exp(np.asarray(corn(IMAGES))).sum(1), 1, atol=1e-5)  # already normalised


def test_cross_entropy_of_corn_is_the_papers_loss(corn):
    """The paper's algorithm 1: for each task k the examples with a grade above k - 1, target whether above k."""
    z = scores_of(corn)
    total = 0.0
    for k in range(4):
        subset = k <= GRADES
        target = GRADES[subset] > k
        total -= np.sum(
            np.where(target, np.log(scipy.special.expit(z[subset, k])), np.log(scipy.special.expit(-z[subset, k])))
        )
    value = classification_losses.cross_entropy()(tf.constant(GRADES, tf.int32), corn(IMAGES))
    assert float(tf.reduce_sum(value)) == pytest.approx(total, rel=1e-5)


def test_corn_stays_finite_for_huge_scores(corn):
    corn.get_layer(ordinal.SCORES).set_weights([np.zeros((4, 4)), np.array([300.0, -300.0, 300.0, -300.0])])
    logits = np.asarray(corn(IMAGES))
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(scipy.special.softmax(logits, -1)[:, 1], 1.0)


def test_regression_is_a_normal_distribution_over_the_grades():
    keras.utils.set_random_seed(4)
    model = ordinal.grade_regression(32, 5, model=SMALL, sigma=0.6)
    model.get_layer(ordinal.SCORES).set_weights([np.random.default_rng(1).normal(0, 3, (4, 1)), np.array([0.2])])
    score = scores_of(model) + 2.0
    density = scipy.stats.norm.pdf(np.arange(5)[None], score, 0.6)
    found = scipy.special.softmax(np.asarray(model(IMAGES), np.float64), -1)
    np.testing.assert_allclose(found, density / density.sum(1, keepdims=True), atol=1e-5)
    np.testing.assert_array_equal(found.argmax(1), np.clip(np.rint(score[:, 0]), 0, 4))


@pytest.mark.parametrize("head", [ordinal.corn, ordinal.grade_regression])
def test_a_saved_head_gives_the_same_logits(head, tmp_path):
    model = head(32, 5, model=SMALL)
    assert model.output.shape == (None, 5) and model.layers[-1].name == "logits"
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(IMAGES), model(IMAGES), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: ordinal.corn(32, 2, model=SMALL), "three or more. Received: 2"),
        (lambda: ordinal.grade_regression(32, 5, model=SMALL, sigma=0.0), "sigma must be more than 0"),
    ],
)
def test_bad_settings_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
