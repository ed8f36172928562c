"""System A's network: the published counts, layer by layer, and the names that the other rooms rely on."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

from dr_edge.models import attention, backbones
from dr_edge.models.mobilenet_v3_cbam import cbam_classifier, mobilenet_v3_cbam


def counts(model: keras.Model) -> tuple[int, int, int]:
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    frozen = sum(int(np.prod(w.shape)) for w in model.non_trainable_weights)
    return model.count_params(), trainable, frozen


def test_large_has_the_published_parameters_layer_by_layer():
    model = mobilenet_v3_cbam(512, 2, variant="large")
    assert counts(model) == (3_520_085, 3_495_685, 24_400)
    head = {
        "channel_attention_hidden": 230_640, "channel_attention_out": 231_360, "spatial_attention_conv": 99,
        "penultimate": 61_504, "logits": 130,
    }  # fmt: skip
    assert {name: model.get_layer(name).count_params() for name in head} == head
    assert model.count_params() - sum(head.values()) == 2_996_352  # the backbone
    assert model.get_layer("cam_features").output.shape == (None, 16, 16, 960)
    assert not [layer.name for layer in model.layers if isinstance(layer, keras.Model)], "the graph must be flat"


def test_small_has_the_measured_parameters():
    assert mobilenet_v3_cbam(512, 2, variant="small").count_params() == 1_142_885


def test_attention_equals_its_formula():
    """Against a NumPy twin of Woo et al. (2018), equations 2 and 3, with a residual."""
    random = np.random.default_rng(0)
    inputs = keras.Input((5, 5, 8))
    model = keras.Model(inputs, attention.cbam(inputs, reduction=4))
    weights = [random.normal(size=w.shape).astype(np.float32) for w in model.get_weights()]
    model.set_weights(weights)
    x = random.normal(size=(2, 5, 5, 8)).astype(np.float32)
    (w1, b1), (w2, b2), (kernel, bias) = (model.get_layer(name).get_weights() for name in (
        "channel_attention_hidden", "channel_attention_out", "spatial_attention_conv"))  # fmt: skip

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    def shared(v):
        return np.maximum(v @ w1 + b1, 0) @ w2 + b2

    channel = sigmoid(shared(x.mean((1, 2))) + shared(x.max((1, 2))))
    y = x * channel[:, None, None]
    pooled = np.stack([y.mean(-1), y.max(-1)], -1)
    padded = np.pad(pooled, ((0, 0), (3, 3), (3, 3), (0, 0)))
    spatial = np.zeros((2, 5, 5))
    for i in range(5):
        for j in range(5):
            spatial[:, i, j] = (padded[:, i : i + 7, j : j + 7] * kernel[..., 0]).sum((1, 2, 3)) + bias[0]
    expected = x + y * sigmoid(spatial)[..., None]
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5)


def test_the_backbone_can_be_exchanged_and_attention_left_out():
    model = cbam_classifier(96, 3, backbone=backbones.mobilenet_v2, use_attention=False)
    assert model.get_layer("cam_features").output.shape == (None, 3, 3, 1280)
    assert model.output.shape == (None, 3)


@pytest.mark.parametrize(
    ("backbone", "arguments", "stride", "channels"),
    [
        (backbones.mobilenet_v3, {"variant": "small"}, 16, 288),
        (backbones.mobilenet_v3, {"variant": "small"}, 8, 96),
        (backbones.mobilenet_v3, {"variant": "large"}, 16, 672),
        (backbones.mobilenet_v3, {"variant": "large"}, 8, 240),
        (backbones.mobilenet_v2, {}, 16, 576),
        (backbones.mobilenet_v2, {}, 8, 192),
        (backbones.mobilenet_v2, {}, 32, 1280),
    ],
)
def test_a_cut_backbone_ends_before_its_map_becomes_coarser(backbone, arguments, stride, channels):
    """Also where the side is no multiple of the stride: 100 px are 13 cells of 8, 7 of 16 and 4 of 32."""
    model = cbam_classifier(100, 2, backbone=functools.partial(backbone, stride=stride, **arguments))
    side = -(-100 // stride)
    assert model.get_layer("cam_features").output.shape == (None, side, side, channels)
    sides = [layer.output.shape[1] for layer in model.layers[1:] if len(layer.output.shape) == 4]
    assert min(each for each in sides if each > 1) == side  # nothing coarser is left but squeezed vectors of 1 x 1


@pytest.mark.slow
def test_a_cut_backbone_gives_the_whole_ones_inner_map(real_weights):
    """With the weights of a file, against the layers of keras.applications that the paper's table names (conv2d 1x1 of
    blocks 6 and 13)."""
    path = str(real_weights / "mobilenet_v2_imagenet_notop.weights.h5")
    theirs = keras.applications.MobileNetV2(include_top=False, input_shape=(64, 64, 3), weights=path)
    x = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    for stride, layer in ((8, "block_6_expand_relu"), (16, "block_13_expand_relu"), (32, "out_relu")):
        inputs = keras.Input((64, 64, 3))
        ours = keras.Model(inputs, backbones.mobilenet_v2(inputs, weights=path, stride=stride))
        inner = keras.Model(theirs.inputs, theirs.get_layer(layer).output)
        np.testing.assert_allclose(
            ours.predict(x, verbose=0), inner.predict(x / 127.5 - 1, verbose=0), rtol=1e-4, atol=1e-4
        )


def test_a_cell_of_a_network_cut_at_8_sees_only_what_is_near_it():
    """Why its heat maps show lesions: but for the squeezed vectors, a change far away moves nothing at a cell."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((160, 160, 3))
    model = keras.Model(inputs, backbones.mobilenet_v2(inputs, stride=8))
    x = np.random.default_rng(0).uniform(0, 255, (1, 160, 160, 3)).astype(np.float32)
    changed = x.copy()
    changed[:, 78:82, 78:82] = 255 - changed[:, 78:82, 78:82]
    moved = np.abs(model.predict(x, verbose=0) - model.predict(changed, verbose=0)).max(axis=(0, 3)) > 0
    rows, columns = np.nonzero(moved)
    assert moved[9:11, 9:11].any()
    assert max(np.ptp(rows), np.ptp(columns)) < 10 and not moved[:4].any()  # of 20 x 20 cells


def test_the_momentum_of_batch_normalisation_is_set_and_saved(tmp_path):
    model = mobilenet_v3_cbam(32, 2, variant="small", batch_norm_momentum=0.9)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    norms = [layer for layer in loaded.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert norms and {layer.momentum for layer in norms} == {0.9}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"variant": "medium"}, "'small' or 'large'"),
        ({"weights": "/nowhere/weights.h5"}, "no such file"),
        ({"image_size": 16}, "image_size must be >= 32"),
        ({"stride": 4}, r"stride is one of \(8, 16, 32\). Received: 4"),
    ],
)
def test_bad_arguments_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        mobilenet_v3_cbam(**{"image_size": 64, "outputs": 2, **arguments})


def test_imagenet_weights_from_a_path_are_loaded(real_weights):
    """The pooled features of the loaded backbone equal those of keras.applications with the same file."""
    path = str(real_weights / "mobilenet_v2_imagenet_notop.weights.h5")
    ours = cbam_classifier(
        64, 2, backbone=lambda x: backbones.mobilenet_v2(x, weights=path), use_attention=False, hidden=8
    )
    theirs = keras.applications.MobileNetV2(include_top=False, pooling="avg", input_shape=(64, 64, 3), weights=path)
    x = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    pooled = keras.Model(ours.inputs, ours.get_layer("pool").output)
    np.testing.assert_allclose(
        pooled.predict(x, verbose=0), theirs.predict(x / 127.5 - 1, verbose=0), rtol=1e-4, atol=1e-4
    )
