"""Export of MobileNetV3-Large + CBAM at 512 px: latency of the artifacts against named peers, one thread, this host.

    python -m pytest tests/benchmarks/bench_export.py -o python_files='bench_*.py' -s

Random weights: latency does not depend on them, once batch normalisation holds the photographs' own statistics (else
the activations die away, and XNNPACK refuses an int8 ADD of such unequal scales). All artifacts of a row run in turns,
so that what disturbs the machine disturbs both sides. Rows (each a ratio of medians):
- graph: the deployable graph (Graham, heat map, distance) against the bare network, float32, LiteRT: at most 1.25;
- plain int8: Keras exported plainly to static int8 against ours of the same function: at least 2.5 times faster;
- int8: our static_int8 against our float32, whole graphs: at least 1.8 times faster;
- onnx: our ONNX float32 in ONNX Runtime against our TFLite float32 in LiteRT: at most 1.05;
- size: bytes of each artifact.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from export.graph import frozen
from export.graph.deployable import PHONE, PHONE_INT8, SERVER, deployable_graph
from export.onnx import convert as onnx_convert
from export.parity import runtime
from export.tflite import convert as tflite_convert
from export.tflite import static_int8 as tflite_static_int8

SIZE, ROUNDS, WARMUP = 512, 60, 5
GRAHAM = {"method": "graham"}
CROP = {"method": "crop"}
Run = Callable[[np.ndarray], object]


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    from dr_edge.fundus.crop import crop_square
    from dr_edge.fundus.fov import find_fov
    from tfrecord_tools.synthetic.draw import draw_fundus

    synthetic = [draw_fundus(seed, grade=seed % 5, size=SIZE).image for seed in range(8)]
    return [crop_square(image, find_fov(image), SIZE)[None] for image in synthetic]


@pytest.fixture(scope="module")
def files(photographs: list[np.ndarray], tmp_path_factory) -> dict[str, Path]:
    """Every artifact that the rows compare: name -> file."""
    from dr_edge.calibration.statistics import FeatureStatistics
    from dr_edge.models.mobilenet_v3_cbam import mobilenet_v3_cbam

    keras.utils.set_random_seed(0)
    network = mobilenet_v3_cbam(SIZE, 2, variant="large", weights=None, batch_norm_momentum=0.5)
    for _ in range(6):
        network(np.concatenate(photographs[:4]).astype(np.float32), training=True)
    width = network.get_layer("penultimate").output.shape[-1]
    features = FeatureStatistics(
        np.zeros((2, width), np.float32), np.eye(width, dtype=np.float32), shrinkage=0.0, images=8
    )
    graph = {
        (target, preprocess["method"]): deployable_graph(
            network, kind="classification", preprocess=preprocess, features=features, target=target
        )
        for target in (PHONE, PHONE_INT8, SERVER)
        for preprocess in (GRAHAM, CROP)
    }
    directory = tmp_path_factory.mktemp("artifacts")

    def saved(model: keras.Model) -> str:
        path = tempfile.mkdtemp(dir=directory)
        frozen.save(*frozen.of_model(model), path)
        return path

    def int8(method: str) -> bytes:
        made = graph[PHONE_INT8, method]
        calibrated = tflite_static_int8.calibrate(saved(made.model), lambda: iter(photographs))
        return tflite_static_int8.quantise(calibrated, made.head)

    content = {
        "bare.float32.tflite": tflite_convert.convert_float(saved(_bare(network)), "float32"),
        "plain.static_int8.tflite": _plain_int8(network, photographs),
        "ours.float32.tflite": tflite_convert.convert_float(saved(graph[PHONE, "graham"].model), "float32"),
        "ours.float16.tflite": tflite_convert.convert_float(saved(graph[PHONE, "graham"].model), "float16"),
        "ours.static_int8.tflite": int8("graham"),
        "ours.crop.static_int8.tflite": int8("crop"),
        "ours.float32.onnx": onnx_convert.convert_float32(graph[SERVER, "graham"].model),
    }
    for name, value in content.items():
        (directory / name).write_bytes(value)
    return {name: directory / name for name in content}


def _bare(network: keras.Model) -> keras.Model:
    """The network alone on uint8 photographs, of fixed batch, which is what makes it one XNNPACK partition."""
    image = keras.Input(batch_shape=(1, SIZE, SIZE, 3), dtype="uint8", name="image")
    return keras.Model(image, {"logits": keras.layers.Identity(name="out")(network(keras.ops.cast(image, "float32")))})


def _plain_int8(network: keras.Model, photographs: list[np.ndarray]) -> bytes:
    """What TensorFlow's guide to post-training integer quantisation does with a Keras model of fixed batch."""
    import tensorflow as tf

    image = keras.Input(batch_shape=(1, SIZE, SIZE, 3), name="image")
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(image, network(image)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([photograph.astype(np.float32)] for photograph in photographs)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    return converter.convert()


def in_turns(files: dict[str, Path], names: list[str], photograph: np.ndarray) -> dict[str, float]:
    """Median ms of each artifact, one thread, the artifacts taking turns."""
    runs: dict[str, Run] = {name: runtime.open_artifact(files[name], threads=1) for name in names}
    samples: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(ROUNDS + WARMUP):
        for name, run in runs.items():
            start = time.perf_counter()
            run(photograph)
            if turn >= WARMUP:
                samples[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(values)) for name, values in samples.items()}


def _row(row: str, upper: str, lower: str, ms: dict[str, float]) -> float:
    ratio = ms[upper] / ms[lower]
    print(f"\n{row}: {upper} {ms[upper]:.1f} ms / {lower} {ms[lower]:.1f} ms = {ratio:.2f}")
    return ratio


def test_the_deployable_graph_costs_little_over_the_bare_network(files, photographs):
    names = ["ours.float32.tflite", "bare.float32.tflite"]
    assert _row("graph", *names, in_turns(files, names, photographs[0])) <= 1.25


def test_plain_int8_is_slower(files, photographs):
    names = ["plain.static_int8.tflite", "ours.crop.static_int8.tflite"]
    assert _row("plain int8", *names, in_turns(files, names, photographs[0])) >= 2.5


def test_int8_against_float32(files, photographs):
    names = ["ours.float32.tflite", "ours.static_int8.tflite"]
    assert _row("int8", *names, in_turns(files, names, photographs[0])) >= 1.8


def test_onnx_against_litert(files, photographs):
    names = ["ours.float32.onnx", "ours.float32.tflite"]
    assert _row("onnx", *names, in_turns(files, names, photographs[0])) <= 1.05


def test_sizes(files):
    sizes = {name: path.stat().st_size / 1e6 for name, path in files.items()}
    print("\nsize, MB: " + ", ".join(f"{name} {size:.2f}" for name, size in sizes.items()))
    assert sizes["ours.static_int8.tflite"] < sizes["ours.float32.tflite"] / 3
