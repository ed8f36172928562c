"""Folding keeps the function."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from dr_edge.models.mobilenet_v3_cbam import mobilenet_v3_cbam
from dr_edge.models.resnet_v2_slim import resnet_v2_slim
from export.graph import rewrite
from export.graph.folding import fold


def randomise(model: keras.Model) -> None:
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            ranges = ((0.5, 1.5), (-0.3, 0.3), (-0.2, 0.2), (0.2, 0.6))
            weights = [rng.uniform(low, high, layer.moving_mean.shape) for low, high in ranges]
            layer.set_weights(weights[-len(layer.weights) :])


@pytest.mark.parametrize(
    "build",
    [
        lambda: mobilenet_v3_cbam(image_size=64, outputs=2, variant="small"),
        lambda: resnet_v2_slim(image_size=64, outputs=2),
    ],
)
@pytest.mark.parametrize("integer_friendly", [False, True])
def test_networks_compute_the_same(build, integer_friendly):
    keras.utils.set_random_seed(1)
    model = build()
    randomise(model)
    source = rewrite.integer_friendly(model, None) if integer_friendly else model
    folded = fold(source)
    kinds = {type(layer).__name__ for layer in folded.layers}
    assert not kinds & {"BatchNormalization", "Dropout"}
    image = np.random.default_rng(2).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    (value,) = keras.tree.flatten(folded(image))
    np.testing.assert_allclose(np.asarray(value), np.asarray(model(image)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "tail",
    [
        lambda x: layers.BatchNormalization()(x),
        lambda x: layers.BatchNormalization(scale=False, center=False)(layers.Conv2D(4, 3)(x)),
        lambda x: layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3, depth_multiplier=2)(x))),
        lambda x: layers.ReLU()(layers.BatchNormalization()(layers.ReLU()(layers.Conv2D(4, 1)(x)))),
        lambda x: layers.Rescaling(3.0, 1.0)(layers.Conv2D(4, 1, activation="relu")(x)),
        lambda x: layers.ReLU(6.0)(layers.Conv2D(4, 1)(x)),
        lambda x: layers.ReLU(negative_slope=0.1)(layers.Conv2D(4, 1)(x)),
        lambda x: layers.BatchNormalization()(layers.Dense(4)(layers.GlobalAveragePooling2D()(x))),
    ],
)
def test_whatever_follows_is_folded_or_left(tail):
    keras.utils.set_random_seed(3)
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, tail(image))
    randomise(model)
    value = np.random.default_rng(4).normal(0, 2, (2, 8, 8, 3)).astype(np.float32)
    (result,) = keras.tree.flatten(fold(model)(value))
    np.testing.assert_allclose(np.asarray(result), np.asarray(model(value)), rtol=1e-5, atol=1e-5)


def test_a_convolution_with_two_readers_keeps_both():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 1, name="shared")(image)
    model = keras.Model(image, layers.Concatenate()([layers.BatchNormalization()(x), x]))
    randomise(model)
    value = np.random.default_rng(5).normal(0, 2, (1, 8, 8, 3)).astype(np.float32)
    (result,) = keras.tree.flatten(fold(model)(value))
    np.testing.assert_allclose(np.asarray(result), np.asarray(model(value)), rtol=1e-5, atol=1e-5)
