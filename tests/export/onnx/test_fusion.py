"""Rewrites of ONNX graphs that no network of the other tests has."""

from __future__ import annotations

import numpy as np
import onnxruntime
import scipy.special
from onnx import TensorProto, checker, helper

from export.onnx import fusion


def graph_of(*nodes):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [9]) for name in ("x", "y")]
    graph = helper.make_graph(list(nodes), "graph", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_erfc_is_expressed_by_erf():
    proto = graph_of(
        helper.make_node("Neg", ["x"], ["negative"]),
        helper.make_node("Erfc", ["negative"], ["inner"], name="first"),
        helper.make_node("Erfc", ["inner"], ["y"], name="second"),
    )
    fusion.express_erfc(proto)
    checker.check_model(proto, full_check=True)
    x = np.linspace(-4, 4, 9).astype(np.float32)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = scipy.special.erfc(scipy.special.erfc(-x.astype(np.float64)))
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, atol=1e-6)


def test_a_graph_without_erfc_is_left_alone():
    proto = graph_of(helper.make_node("Erf", ["x"], ["y"]))
    before = proto.SerializeToString()
    assert fusion.express_erfc(proto).SerializeToString() == before
