"""Vectors behind the last map stay in floating point, so that a head with logarithms survives 8 bits."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from dr_edge.models import ordinal
from export.graph import frozen
from export.graph.dense_end import Node, dense_end
from export.graph.deployable import PHONE_INT8, SERVER_INT8, deployable_graph
from export.onnx import convert as onnx_convert
from export.onnx import static_int8 as onnx_static_int8
from export.parity import runtime
from export.tflite import static_int8 as tflite_static_int8

SIDE = 48


def node(name: str, inputs: str, outputs: str, rank: int, weights: int = 0) -> Node:
    return Node(f"deployable_1/network_1/{name}", tuple(inputs), tuple(outputs), rank, weights)


def test_the_end_begins_behind_the_last_map_and_behind_large_layers():
    nodes = [
        Node("deployable_1/cast", ("i",), ("a",), 4, 0),
        node("conv", "a", "b", 4, 500),
        node("squeeze", "b", "c", 2),  # a vector, but a map follows
        node("excite", "bc", "d", 4),
        node("pool", "d", "e", 2),
        node("large", "e", "f", 2, 2_000_000),
        node("dense", "f", "g", 2, 5000),
        node("log", "g", "h", 2),
        Node("deployable_1/softmax", ("h",), ("o",), 2, 0),
        Node("deployable_1/heat", tuple("dg"), ("p",), 4, 0),  # outside the network: it does not count as a map behind
    ]
    assert dense_end(nodes) == {"deployable_1/network_1/dense", "deployable_1/network_1/log"}


@pytest.fixture(scope="module")
def corn() -> keras.Model:
    """Five grades, with scores far enough apart that probabilities differ from photograph to photograph."""
    keras.utils.set_random_seed(0)

    def network(image_size: int, outputs: int) -> keras.Model:
        image = keras.Input((image_size, image_size, 3), name="image")
        x = layers.Rescaling(1 / 127.5, -1.0)(image)
        for width in (8, 16):
            x = layers.Conv2D(width, 3, strides=2, activation="relu")(x)
        x = layers.ReLU(name="cam_features")(x)
        x = layers.GlobalAveragePooling2D(name="penultimate")(x)
        return keras.Model(image, layers.Dense(outputs, name="logits", kernel_initializer="orthogonal")(x))

    model = ordinal.corn(SIDE, 5, model=network)
    dense = model.get_layer(ordinal.SCORES)
    dense.set_weights([25 * dense.get_weights()[0], np.asarray([2.0, 0.5, 0.0, -2.0])])
    return model


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_a_corn_head_answers_alike_in_8_bits(corn, suffix, tmp_path):
    rng = np.random.default_rng(1)
    photographs = [(rng.integers(0, 256, (1, SIDE, SIDE, 3)) // (1 + n % 4)).astype(np.uint8) for n in range(12)]
    target = PHONE_INT8 if suffix == "tflite" else SERVER_INT8
    graph = deployable_graph(corn, kind="classification", preprocess={"method": "crop"}, target=target)
    assert not graph.head  # no closed form for its heat map, so nothing is named
    if suffix == "tflite":
        frozen.save(*frozen.of_model(graph.model), tmp_path / "saved")
        content = tflite_static_int8.quantise(
            tflite_static_int8.calibrate(tmp_path / "saved", lambda: iter(photographs)), graph.head
        )
    else:
        content = onnx_static_int8.quantise(
            onnx_convert.convert_float32(graph.model), lambda: iter(photographs), graph.head
        )
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(content)
    run = runtime.open_artifact(path)
    expected = np.concatenate([np.asarray(graph.model(photograph)["probabilities"]) for photograph in photographs])
    found = np.concatenate([run(photograph)["probabilities"] for photograph in photographs])
    assert expected.std(axis=0).max() > 0.05
    np.testing.assert_allclose(found, expected, atol=0.03)
