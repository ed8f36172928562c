"""What other roundings can do to an artifact: a known network, and what is left alone."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper

from export.parity import rounding, shaken_onnx, shaken_tflite

SIDE, DRAWS = 32, 40


def converted(weights: np.ndarray, integer: bool) -> bytes:
    """A TFLite file of pixels / 255 times [3, C] weights at each pixel; `integer`: activations of 8 bits, else 8-bit
    weights alone.
    """
    import tensorflow as tf

    kernel = tf.constant(weights[None, None].astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, 3), tf.uint8, name="image")])
    def network(image):
        return {"masks": tf.nn.conv2d(tf.cast(image, tf.float32) / 255.0, kernel, 1, "SAME")}

    module = tf.Module()
    module.network = network
    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if integer:
        converter.representative_dataset = lambda: ([photograph(seed)] for seed in range(4))
    return converter.convert()


def photograph(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)


def runner(content: bytes):
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    run = interpreter.get_signature_runner()
    return lambda image: run(image=image)["masks"].astype(np.float64)


def test_a_result_of_8_bits_moves_by_a_step_now_and_then():
    content = converted(np.eye(3), integer=True)
    plain, moved = runner(content), runner(shaken_tflite.shaken(content))
    shifts = np.concatenate([moved(photograph(9)) - plain(photograph(9)) for _ in range(DRAWS)])
    codes = shifts * 255  # 0..1 in 256 codes
    # Two activations are rounded one after the other: each moves by -1, 0 or 1 step with variance 1/6.
    assert np.abs(codes - np.rint(codes)).max() < 0.05 and np.rint(np.abs(codes).max()) == 2
    assert abs(codes.mean()) < 0.02 and codes.var() == pytest.approx(2 / 6, rel=0.1)


def test_what_8_bit_weights_read_moves_within_its_own_step():
    weights = np.random.default_rng(0).normal(size=(3, 400))  # fewer weights are left in floating point
    content = converted(weights, integer=False)
    plain, moved = runner(content), runner(shaken_tflite.shaken(content))
    grey = np.full((1, SIDE, SIDE, 3), 128, np.uint8)
    grey[0, : SIDE // 2] = 0  # zeros have a code of their own and stay
    difference = np.abs(np.concatenate([moved(grey) - plain(grey) for _ in range(DRAWS)]))
    step = 128 / 255 / 255
    # Another code or the same one: at most a step for each of the three colours.
    bound = np.abs(weights).sum(axis=0) * step * 1.1
    assert (difference[:, SIDE // 2 :].max(axis=(0, 1, 2)) <= bound).all() and difference[
        :, SIDE // 2 :
    ].max() > 0.3 * bound.min()
    assert difference[:, : SIDE // 2].max() <= 1e-6
    again = runner(shaken_tflite.shaken(content))
    # The seed decides, so bundles can be made again.
    np.testing.assert_array_equal(again(grey), runner(shaken_tflite.shaken(content))(grey))


def test_an_artifact_that_rounds_nothing_has_no_spread(tmp_path):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, 3), tf.uint8, name="image")])
    def network(image):
        return {"masks": tf.cast(image, tf.float32) / 255.0}

    path = tmp_path / "model.float32.tflite"
    path.write_bytes(
        tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()], tf.Module()).convert()
    )
    assert rounding.spread(path, [photograph(0)]) == [{}]


def test_an_onnx_graph_moves_where_it_rounds():
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [0.1])
    zero = helper.make_tensor("zero", TensorProto.UINT8, [], [3])
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["code"]),
        helper.make_node("DequantizeLinear", ["code", "scale", "zero"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4000]) for name in ("x", "y")]

    def model(kept):
        graph = helper.make_graph(kept, "graph", ends[:1], ends[1:], [scale, zero])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()

    content = shaken_onnx.shaken(model(nodes))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).uniform(0, 20, (4, 4000)).astype(np.float32)
    x[0] = 0
    plain = np.rint(x / 0.1)
    codes = np.rint(session.run(None, {"x": x})[0] / 0.1) - plain
    assert set(np.unique(codes)) == {-1, 0, 1} and not codes[0].any()
    # A number that stands anywhere within its step and moves by u gets another code with probability |u|: 1/4 on
    # average.
    assert codes[1:].var() == pytest.approx(1 / 4, abs=0.02)
    assert shaken_onnx.shaken(model([helper.make_node("Identity", ["x"], ["y"])])) is None


def test_heat_maps_of_other_classes_are_not_compared():
    low, high = np.array([[0.6, 0.4]]), np.array([[0.4, 0.6]])
    maps = np.zeros((1, 3, 3)), np.ones((1, 3, 3))
    same = rounding.differences(
        {"probabilities": low, "heatmap": maps[0]}, {"probabilities": low + [[0.1, -0.1]], "heatmap": maps[1]}
    )
    assert same == {"heatmap": 1.0, "probabilities": pytest.approx(0.1)}
    other = rounding.differences(
        {"probabilities": low, "heatmap": maps[0]}, {"probabilities": high, "heatmap": maps[1]}
    )
    assert other == {"probabilities": pytest.approx(0.2)}
