"""Static int8 ONNX, run by ONNX Runtime."""

from __future__ import annotations

import collections
import dataclasses

import keras
import numpy as np
import pytest

from dr_edge.models.resnet_v2_slim import resnet_v2_slim
from export.graph.deployable import SERVER, SERVER_INT8, deployable_graph
from export.onnx import convert as onnx_convert
from export.onnx import static_int8 as onnx_static_int8

SIDE = 64


@pytest.fixture(scope="module")
def made():
    """(graph, float32 content, int8 content, photographs)."""
    keras.utils.set_random_seed(0)
    network = resnet_v2_slim(image_size=SIDE, outputs=2)
    graph = deployable_graph(network, kind="classification", preprocess={"method": "crop"}, target=SERVER_INT8)
    rng = np.random.default_rng(1)
    photographs = [rng.integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8) // (index + 1) for index in range(6)]
    content = onnx_convert.convert_float32(graph.model)
    return graph, content, onnx_static_int8.quantise(content, lambda: iter(photographs), graph.head), photographs


def test_convolutions_have_8_bit_weights_per_channel(made):
    import onnx

    proto = onnx.load_from_string(made[2])
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    scales = {
        node.output[0]: weights[node.input[1]]
        for node in proto.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in weights and len(weights[node.input[0]].dims) == 4
    }
    inputs = [node.input[1] for node in proto.graph.node if node.op_type == "Conv" and "network" in node.name]
    quantised = [name for name in inputs if name in scales]
    assert len(quantised) == len(inputs) >= 10
    assert all(scales[name].dims[0] > 1 for name in quantised)


def test_no_weight_has_a_sign(made):
    """With signed weights a CPU of AVX2 without VNNI answers otherwise: 16-bit sums of two products overflow there."""
    import onnx

    proto = onnx.load_from_string(made[2])
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    points = {node.input[2] for node in proto.graph.node if node.op_type == "DequantizeLinear" and len(node.input) > 2}
    kinds = collections.Counter(weights[name].dtype.name for name in points)
    assert kinds["uint8"] > 20 and kinds["int8"] == 0
    kernels = [
        node.input[0]
        for node in proto.graph.node
        if node.op_type == "DequantizeLinear" and np.ndim(weights.get(node.input[0], 0)) == 4
    ]
    assert len(kernels) >= 10 and all(weights[name].dtype == np.uint8 and weights[name].max() > 250 for name in kernels)


def test_outputs_are_near_those_of_keras(made):
    import onnxruntime

    graph, content, quantised, photographs = made
    session = onnxruntime.InferenceSession(quantised, providers=["CPUExecutionProvider"])
    assert len(quantised) < len(content)
    for photograph in photographs:
        (value,) = session.run(["probabilities"], {"image": photograph})
        # Sums of integers are exact with weights that have no sign (above), so this is what 8 bits cost, on any
        # processor.
        np.testing.assert_allclose(value, np.asarray(graph.model(photograph)["probabilities"]), atol=0.05)


def test_a_named_layer_stays_in_floating_point(made):
    import onnx

    _, content, quantised, photographs = made
    kept = onnx_static_int8.quantise(content, lambda: iter(photographs), (), ["block1_conv1"])
    assert len(kept) > len(quantised)
    kinds = collections.Counter(node.op_type for node in onnx.load_from_string(kept).graph.node)
    assert kinds["DequantizeLinear"] > 10
    with pytest.raises(ValueError, match="no_such_layer"):
        onnx_static_int8.quantise(content, lambda: iter(photographs), (), ["no_such_layer"])
    with pytest.raises(ValueError, match="needs training photographs"):
        onnx_static_int8.quantise(content, lambda: iter(()))


def test_a_dynamic_batch_gives_each_photograph_its_own_answer():
    import onnxruntime

    network = resnet_v2_slim(image_size=SIDE, outputs=3)
    target = dataclasses.replace(SERVER, batch=None)
    graph = deployable_graph(network, kind="classification", preprocess={"method": "graham"}, target=target)
    session = onnxruntime.InferenceSession(
        onnx_convert.convert_float32(graph.model), providers=["CPUExecutionProvider"]
    )
    photographs = np.random.default_rng(2).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    names = [output.name for output in session.get_outputs()]
    together = session.run(names, {"image": photographs})
    for index in range(3):
        for value, one in zip(together, session.run(names, {"image": photographs[index : index + 1]}), strict=True):
            np.testing.assert_allclose(value[index], one[0], atol=1e-5)
