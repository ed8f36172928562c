"""System C's network: its shape by hand, its variants, and its way through the converters."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import gin
import keras
import numpy as np
import pytest

from dr_edge.models import backbones, unet

SMALL = functools.partial(backbones.mobilenet_v3_encoder, variant="small")
TINY = functools.partial(unet.plain_encoder, depth=2, width=4)


def test_the_plain_network_by_hand():
    """Depth 2, width 4: 3 -> 4 -> 8 -> 16 -> 8 -> 4 -> 2, two 3x3 convolutions with batch norm at each level."""
    model = unet.unet(64, 2, encoder=TINY, decoder_width=4)

    def block(cin: int, c: int) -> int:
        return 9 * cin * c + 4 * c + 9 * c * c + 4 * c

    down = block(3, 4) + block(4, 8) + block(8, 16)
    gate = (4 + 8 + 16) * 16 + 16  # from the averages of all three maps
    up = block(16 + 8, 8) + block(8 + 4, 4)
    assert model.count_params() == down + gate + up + 4 * 2 + 2
    shapes = {"bottleneck": (16, 16, 16), "penultimate": (28,), "decoder0_skip": (64, 64, 12), "logits": (64, 64, 2)}
    assert {name: model.get_layer(name).output.shape[1:] for name in shapes} == shapes
    assert not hasattr(model, "backbone_layers")


@pytest.mark.parametrize(
    ("encoder", "channels"),
    [
        (backbones.mobilenet_v2_encoder, [16, 24, 32, 96, 320]),
        (backbones.mobilenet_v3_encoder, [16, 24, 40, 112, 160]),
        (SMALL, [16, 16, 24, 48, 96]),
    ],
    ids=["v2", "v3", "v3_small"],
)
def test_mobile_encoders_give_a_map_per_resolution(encoder, channels):
    inputs = keras.Input((64, 64, 3))
    maps = encoder(inputs)
    assert [features.shape[1:] for features in maps] == [(64 // 2**n, 64 // 2**n, c) for n, c in enumerate(channels, 1)]
    model = unet.unet(64, 3, encoder=encoder)
    assert model.output.shape == (None, 64, 64, 3) and model.get_layer("penultimate").output.shape[-1] == sum(channels)
    assert not [layer.name for layer in model.layers if isinstance(layer, keras.Model)], "the graph must be flat"
    trunk = set(model.backbone_layers)
    assert trunk and not [name for name in trunk if name.startswith(("decoder", "logits", "bottleneck"))]


def test_normalisations_and_separable_convolutions():
    """Group normalisation equals its formula; separable convolutions save most of the parameters."""
    block = functools.partial(unet.ConvolutionBlock, groups=2)
    grouped = unet.unet(
        32, 1, encoder=functools.partial(TINY, block=block("group")), decoder_width=4, block=block("group")
    )
    kinds = {type(layer).__name__ for layer in grouped.layers}
    assert "GroupNormalization" in kinds and "BatchNormalization" not in kinds
    x = np.random.default_rng(0).normal(2, 3, (2, 8, 8, 4)).astype(np.float32)
    layer = grouped.get_layer("encoder0_norm1")
    groups = x.reshape(2, 8, 8, 2, 2)
    expected = (groups - groups.mean((1, 2, 4), keepdims=True)) / np.sqrt(
        groups.var((1, 2, 4), keepdims=True) + layer.epsilon
    )
    np.testing.assert_allclose(layer(x), expected.reshape(x.shape), atol=1e-4)
    bare = unet.unet(32, 1, encoder=functools.partial(TINY, block=block("none")), block=block("none"))
    assert not [layer for layer in bare.layers if "norm" in layer.name] and bare.get_layer("decoder0_conv1").use_bias
    thin = unet.unet(64, 2, encoder=SMALL, block=block(convolution="separable"))
    plain = unet.unet(64, 2, encoder=SMALL).get_layer("decoder3_conv1").count_params()
    assert thin.get_layer("decoder2_conv1").count_params() == 9 * (128 + 24) + (128 + 24) * 64
    # decoder3: the bottleneck's 96 channels and the skip's 48 to 128
    assert thin.get_layer("decoder3_conv1").count_params() == 9 * 144 + 144 * 128 < plain / 8


def test_gin_reaches_encoder_and_block():
    config = """
    unet.encoder = @plain_encoder
    plain_encoder.depth = 1
    plain_encoder.width = 8
    unet.block = @models.ConvolutionBlock()
    models.ConvolutionBlock.normalisation = 'none'
    unet.dropout = 0.25
    """
    with gin.unlock_config():
        gin.parse_config(config)
    try:
        model = unet.unet(32, 2)
    finally:
        gin.clear_config()
    assert model.get_layer("bottleneck").output.shape[1:] == (16, 16, 16)
    assert model.get_layer("dropout").rate == 0.25
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: unet.unet(72, 2, encoder=SMALL), "multiple of that. Received: 72"),
        (lambda: unet.unet(64, 0), "outputs >= 1"),
        (lambda: unet.ConvolutionBlock(normalisation="layer"), "normalisation must be one of"),
        (lambda: unet.ConvolutionBlock(convolution="dense"), "convolution must be one of"),
        (lambda: unet.unet(64, 1, block=unet.ConvolutionBlock("group", groups=7)), "groups = 7"),
        (lambda: unet.unet(64, 1, encoder=functools.partial(SMALL, weights="/no/file.h5")), "no such file"),
    ],
)
def test_bad_settings_are_refused(build, says):
    with pytest.raises(ValueError, match=says):
        build()


def test_imagenet_weights_reach_the_encoder(real_weights):
    """The bottleneck equals that of keras.applications with the same file."""
    path = str(real_weights / "mobilenet_v2_imagenet_notop.weights.h5")
    inputs = keras.Input((64, 64, 3))
    ours = keras.Model(inputs, backbones.mobilenet_v2_encoder(inputs, weights=path)[3])
    theirs = keras.applications.MobileNetV2(include_top=False, input_shape=(64, 64, 3), weights=path)
    theirs = keras.Model(theirs.inputs, theirs.get_layer("block_12_add").output)
    x = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(
        ours.predict(x, verbose=0), theirs.predict(x / 127.5 - 1, verbose=0), rtol=1e-4, atol=1e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize("encoder", [TINY, SMALL], ids=["plain", "v3_small"])
def test_phones_run_it_in_one_piece(encoder):
    """float32 equals Keras; static int8 stays near it, and XNNPACK takes all but the cast of the input."""
    import tensorflow as tf

    from export.graph import frozen
    from export.graph.deployable import PHONE, PHONE_INT8, deployable_graph
    from export.parity.delegation import delegation
    from export.tflite import convert as tflite_convert
    from export.tflite import static_int8 as tflite_static_int8

    keras.utils.set_random_seed(0)
    model = unet.unet(64, 2, encoder=encoder, decoder_width=8, block=unet.ConvolutionBlock(convolution="separable"))
    photographs = np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8, 3)).repeat(8, 2).repeat(8, 3).astype(np.uint8)
    images = photographs[:, 0].astype(np.float32)
    for layer in model.layers:  # the statistics that training would leave
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
    expected = tf.sigmoid(model(images)).numpy()
    for target, tolerance in ((PHONE, 1e-4), (PHONE_INT8, 0.06)):
        deployable = deployable_graph(model, kind="segmentation", preprocess={"method": "crop"}, target=target)
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "saved"
            frozen.save(*frozen.of_model(deployable.model), path)
            if target is PHONE:
                content = tflite_convert.convert_float(path, "float32")
            else:
                calibrated = tflite_static_int8.calibrate(path, lambda: iter(photographs))
                content = tflite_static_int8.quantise(calibrated, deployable.head)
            artifact = Path(directory) / "model.tflite"
            artifact.write_bytes(content)
            from export.parity.runtime import open_artifact

            run = open_artifact(artifact)
            masks = np.concatenate([run(photograph)["masks"] for photograph in photographs])
        assert np.abs(masks - expected).mean() < tolerance
        pieces = delegation(content)
        assert pieces.partitions == 1 and set(pieces.left) <= {"CAST"}, pieces
