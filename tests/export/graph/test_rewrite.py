"""The int8-friendly graph computes the function of the trained one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from dr_edge.models.mobilenet_v3_cbam import mobilenet_v3_cbam
from dr_edge.models.resnet_v2_slim import resnet_v2_slim
from export.graph import rewrite


def randomise(model: keras.Model, seed: int = 0) -> None:
    """Gives batch normalisation the statistics of a trained network, so that folding has something to get wrong."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.moving_mean.shape
            ranges = ((0.5, 1.5), (-0.3, 0.3), (-0.2, 0.2), (0.2, 0.6))
            layer.set_weights([rng.uniform(low, high, shape) for low, high in ranges])


def exposed(model: keras.Model) -> keras.Model:
    names = ("cam_features", "penultimate", "logits")
    return keras.Model(model.inputs, [model.get_layer(name).output for name in names])


@pytest.mark.parametrize(
    "build",
    [
        lambda: mobilenet_v3_cbam(image_size=64, outputs=2, variant="small"),
        pytest.param(lambda: mobilenet_v3_cbam(image_size=64, outputs=5, variant="large"), marks=pytest.mark.slow),
        lambda: resnet_v2_slim(image_size=64, outputs=2),
    ],
)
def test_outputs_are_those_of_the_trained_graph(build):
    keras.utils.set_random_seed(1)
    model = build()
    randomise(model)
    network = exposed(model)
    rewritten = rewrite.integer_friendly(network, batch=1)
    image = np.random.default_rng(2).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    for value, expected in zip(rewritten(image), network(image), strict=True):
        expected = np.asarray(expected)
        np.testing.assert_allclose(np.asarray(value), expected, atol=1e-5 * max(1.0, np.abs(expected).max()))


def test_no_hard_swish_is_left_and_the_batch_is_fixed():
    model = mobilenet_v3_cbam(image_size=64, outputs=2, variant="small")
    rewritten = rewrite.integer_friendly(model, batch=1)
    kinds = [type(operation).__name__ for operation in rewritten.operations]
    before = [layer for layer in model.layers if isinstance(layer, layers.Activation)]
    hard_swish = [layer for layer in before if keras.activations.serialize(layer.activation) in rewrite.HARD_SWISH]
    assert kinds.count("HardSwishTimesSix") == len(hard_swish) == 18
    assert rewritten.inputs[0].shape == (1, 64, 64, 3)


def test_the_original_keeps_its_weights():
    model = mobilenet_v3_cbam(image_size=64, outputs=2, variant="small")
    before = [weight.copy() for weight in model.get_weights()]
    rewrite.integer_friendly(model, batch=1)
    for value, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)


def _graph(tail) -> keras.Model:
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="first")(image)
    x = layers.Activation("hard_silu", name="swish")(x)
    return keras.Model(image, tail(x, image))


@pytest.mark.parametrize(
    "tail",
    [
        lambda x, _: layers.Add()([x, layers.Conv2D(4, 1)(x)]),  # factors differ: 6 and 1
        lambda x, _: layers.Add()([x, x]),
        lambda x, _: layers.BatchNormalization()(x),
        lambda x, _: layers.ReLU(6.0)(x),
        lambda x, _: layers.ReLU()(x),
        lambda x, _: layers.Activation("hard_silu", name="again")(x),
        lambda x, _: layers.Multiply()([x, layers.Activation("sigmoid")(x)]),
        lambda x, _: layers.Multiply()([x, x]),
        lambda x, _: layers.Concatenate()([layers.GlobalMaxPooling2D()(x), layers.GlobalAveragePooling2D()(x)]),
        lambda x, _: layers.DepthwiseConv2D(3, padding="same", activation="relu")(layers.ZeroPadding2D(1)(x)),
        lambda x, image: layers.Concatenate()([x, image]),  # factors differ: 6 and 1
        lambda x, _: x * 0.25,
        lambda x, _: x + 1.0,
        lambda x, _: layers.Conv2DTranspose(2, 2, strides=2)(x),
    ],
)
def test_factors_are_right_whatever_follows(tail):
    keras.utils.set_random_seed(3)
    model = _graph(tail)
    image = np.random.default_rng(4).normal(0, 3, (2, 8, 8, 3)).astype(np.float32)
    rewritten = rewrite.integer_friendly(model, batch=2)
    (result,) = keras.tree.flatten(rewritten(image))
    np.testing.assert_allclose(np.asarray(result), np.asarray(model(image)), rtol=1e-5, atol=1e-5)


def test_a_layer_that_is_called_twice_is_scaled_once():
    image = keras.Input((8, 8, 4))
    shared = layers.Dense(3, name="shared")
    x = layers.Activation("hard_silu")(image)
    model = keras.Model(image, layers.Add()([shared(x), shared(layers.AveragePooling2D(1)(x))]))
    rewritten = rewrite.integer_friendly(model, batch=1)
    copies = [layer for layer in rewritten.layers if layer.name == "shared"]
    assert len(copies) == 1
    value = np.random.default_rng(5).normal(0, 3, (1, 8, 8, 4)).astype(np.float32)
    (result,) = keras.tree.flatten(rewritten(value))
    np.testing.assert_allclose(np.asarray(result), np.asarray(model(value)), rtol=1e-5, atol=1e-5)
