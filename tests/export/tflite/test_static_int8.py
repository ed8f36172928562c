"""static_int8: ranges, layers left in floating point, errors by layer."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from export.graph import frozen
from export.graph.deployable import PHONE_INT8, deployable_graph
from export.tflite import ranges
from export.tflite import static_int8 as tflite_static_int8
from export.tflite.ranges import Spread, best_range, chosen_range

SIDE = 32


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A small network with a hard-swish, calibrated."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.Rescaling(1 / 127.5, -1.0, name="rescaling")(image)
    x = layers.Conv2D(8, 3, name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Activation("hard_silu", name="swish")(x)
    x = layers.Conv2D(8, 3, name="second", activation="relu")(x)
    x = layers.ReLU(name="cam_features")(x)
    x = layers.GlobalAveragePooling2D(name="penultimate")(x)
    network = keras.Model(image, layers.Dense(2, name="logits")(x))
    graph = deployable_graph(network, kind="classification", preprocess={"method": "crop"}, target=PHONE_INT8)
    path = tmp_path_factory.mktemp("int8") / "saved"
    frozen.save(*frozen.of_model(graph.model), path)
    rng = np.random.default_rng(1)
    photographs = [rng.integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8) for _ in range(6)]
    return graph, tflite_static_int8.calibrate(path, lambda: iter(photographs)), photographs


def ranges_of(content: bytes) -> dict[str, tuple[float, float]]:
    from tensorflow.lite.python import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(content).subgraphs[0]
    found = {}
    for tensor in graph.tensors:
        if tensor.quantization is not None and tensor.quantization.min is not None:
            found[tensor.name.decode()] = (float(tensor.quantization.min[0]), float(tensor.quantization.max[0]))
    return found


def test_the_gate_of_a_hard_swish_keeps_its_own_range(calibrated):
    # TensorFlow's calibrator gives it the range of the product, which has overwritten it.
    found = ranges_of(calibrated[1].calibrated_model)
    (gate,) = [bounds for name, bounds in found.items() if "Relu6" in name]
    assert gate[0] >= 0.0 and gate[1] <= 6.0


def test_measured_extremes_are_those_of_the_network(calibrated):
    graph, debugger, photographs = calibrated
    spreads = ranges.measure(debugger.calibrated_model, photographs)
    names = list(ranges_of(debugger.calibrated_model))
    assert len(spreads) == len(names)
    images = np.concatenate(photographs).astype(np.float32)
    core = graph.model.get_layer("network")
    product = keras.Model(core.input, core.get_layer("swish_times_six").output)
    expected = np.concatenate([np.asarray(product(image[None])) for image in images])
    index = _index_of(debugger.calibrated_model, "swish_times_six_1/mul")
    assert spreads[index].low == pytest.approx(expected.min(), rel=1e-3)
    assert spreads[index].high == pytest.approx(expected.max(), rel=1e-3)
    assert spreads[index].counts.sum() == expected.size


def _index_of(content: bytes, part: str) -> int:
    from tensorflow.lite.python import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(content).subgraphs[0]
    names = {operation.outputs[0]: graph.tensors[operation.outputs[0]].name.decode() for operation in graph.operators}
    return next(index for index, name in names.items() if part in name)


def test_head_and_named_layers_stay_in_floating_point(calibrated):
    graph, debugger, _ = calibrated
    from ai_edge_litert.interpreter import Interpreter

    def int8_operations(content: bytes) -> set[str]:
        details = Interpreter(model_content=content).get_tensor_details()
        return {detail["name"] for detail in details if detail["dtype"] is np.int8}

    plain = int8_operations(tflite_static_int8.quantise(debugger, graph.head))
    kept = int8_operations(tflite_static_int8.quantise(debugger, graph.head, ["second"]))
    assert not any("/logits" in name or "/penultimate" in name for name in plain)
    assert any("/second" in name for name in plain) and not any("/second" in name for name in kept)
    with pytest.raises(ValueError, match="no_such_layer"):
        tflite_static_int8.quantise(debugger, graph.head, ["no_such_layer"])


def test_layers_are_sorted_by_their_error(calibrated):
    graph, debugger, _ = calibrated
    tflite_static_int8.quantise(debugger, graph.head)
    rows = tflite_static_int8.layer_errors(debugger)
    ratios = [row["snr_db"] for row in rows]
    assert ratios == sorted(ratios) and 10 < ratios[0] < 70
    assert {"conv", "norm", "second", "swish_times_six"} & {row["layer"] for row in rows}
    assert all("NumericVerify" not in row["operation"] for row in rows)


def test_signal_to_noise_by_hand():
    exact = np.array([1.0, -1.0], np.float32)
    assert tflite_static_int8.signal_to_noise(exact, np.array([9, -9]), 0.1, 0) == pytest.approx(20.0, abs=1e-3)
    assert np.isnan(tflite_static_int8.signal_to_noise(exact, np.array([10, -10]), 0.1, 0))


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("deployable_1/network_1/conv_1_2/convolution;deployable_1/x", "conv_1"),
        ("deployable_1/network_1/expanded_conv_10_add_1/Add", "expanded_conv_10_add"),
        ("deployable_1/network/Mean", "Mean"),
        ("deployable_1/graham_1/sub", ""),
    ],
)
def test_layer_names(name, layer):
    assert tflite_static_int8.layer_of(name) == layer


def _error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    return float(np.mean(np.square(values - np.clip(np.round((values - low) / step) * step + low, low, high))))


def test_best_range_clips_a_far_outlier_but_not_a_uniform_signal():
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(0, 1, 1_000_000), [60.0]])
    counts = np.histogram(values, ranges.BINS, (values.min(), values.max()))[0]
    low, high = best_range(Spread(values.min(), values.max(), counts))
    assert high < 40 and _error(values, low, high) < _error(values, values.min(), values.max())
    middle = chosen_range(Spread(values.min(), values.max(), counts))
    assert high < middle[1] < 60
    uniform = rng.uniform(0, 1, 100_000)
    spread = Spread(0.0, 1.0, np.histogram(uniform, ranges.BINS, (0, 1))[0])
    assert best_range(spread) == (0.0, 1.0)


def test_values_a_rounding_error_apart_can_be_counted():
    values = np.full(100_000, 1e6, np.float32)
    values[::2] = np.nextafter(np.float32(1e6), np.float32(2e6))
    counts = ranges.histogram(values, float(values.min()), float(values.max()))
    assert counts[0] + counts[-1] == counts.sum() == ranges.MOST_VALUES


def test_a_range_holds_zero_and_survives_a_constant_tensor():
    assert best_range(Spread(0.0, 0.0, np.zeros(ranges.BINS))) == (0.0, 0.0)
    low, high = best_range(Spread(2.0, 3.0, np.ones(ranges.BINS)))
    assert low == 0.0 and high == 3.0


def test_no_photographs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="needs training photographs"):
        tflite_static_int8.calibrate(tmp_path, lambda: iter(()))
