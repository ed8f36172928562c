"""Conversion to ONNX, run by ONNX Runtime."""

from __future__ import annotations

import collections
import dataclasses

import keras
import numpy as np
import pytest

from dr_edge.models.mobilenet_v3_cbam import mobilenet_v3_cbam
from dr_edge.models.resnet_v2_slim import resnet_v2_slim
from export.graph.deployable import SERVER, deployable_graph
from export.onnx import convert as onnx_convert

SIDE = 64


@pytest.mark.parametrize(
    "build",
    [
        lambda: mobilenet_v3_cbam(image_size=SIDE, outputs=2, variant="small"),
        lambda: resnet_v2_slim(image_size=SIDE, outputs=3),
    ],
)
def test_outputs_are_those_of_keras_with_few_transposes(build):
    import onnx
    import onnxruntime

    keras.utils.set_random_seed(0)
    network = build()
    made = {}
    for quality in (False, True):  # which exchanges rows and columns, of small copies of the photograph
        target = dataclasses.replace(SERVER, quality=quality)
        graph = deployable_graph(network, kind="classification", preprocess={"method": "graham"}, target=target)
        content = onnx_convert.convert_float32(graph.model)
        proto = onnx.load_from_string(content)
        made[quality] = collections.Counter(node.op_type for node in proto.graph.node)["Transpose"]
    assert made[False] <= 8 and made[True] <= made[False] + 12
    assert [value.name for value in proto.graph.input] == ["image"]
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    photograph = np.random.default_rng(1).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    names = [output.name for output in session.get_outputs()]
    assert sorted(names) == sorted(graph.outputs)
    expected = graph.model(photograph)
    for name, value in zip(names, session.run(names, {"image": photograph}), strict=True):
        np.testing.assert_allclose(value, np.asarray(expected[name]), atol=1e-4)
