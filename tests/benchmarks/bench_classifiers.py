"""System D's deployment claims on this host's CPU: ONNX Runtime against Keras, and XLA against a plain graph.

    python -m pytest tests/benchmarks/bench_classifiers.py -o python_files='bench_*.py' -s

EfficientNet-B4 with five classes and random weights (time does not depend on them), the same drawn photographs for all,
one by one, as a screening queue comes. The report has 14 s for Keras and 4.4 s for ONNX Runtime, 3.2 times faster. The
runners take turns photograph by photograph, all with as many threads as the process may use. Rows, each a ratio of
total times:
- eager: `model(x)` against ONNX Runtime: at least 3.2;
- predict: `model.predict(x)` against ONNX Runtime: above 1;
- graph: `tf.function` against ONNX Runtime, printed: how much of the above is Keras's own overhead;
- xla: `tf.function` against `tf.function(jit_compile=True)`, what the report calls JIT, printed;
and the probabilities are equal within 1e-4. Each row also prints the ratio of CPU time (all threads). On a machine that
computes something else the two assertions are skipped: threads that wait for each other lose more than those that do
not.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable

import keras
import numpy as np
import pytest

from dr_edge.models.classifiers import classifier
from export.graph.deployable import SERVER, deployable_graph
from export.onnx import convert as onnx_convert

SIZE, PHOTOGRAPHS, WARMUP = 380, 12, 2  # 380 px is B4's own size
THREADS = len(os.sched_getaffinity(0))
Run = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    from dr_edge.fundus.crop import crop_square
    from dr_edge.fundus.fov import find_fov
    from tfrecord_tools.synthetic.draw import draw_fundus

    synthetic = [draw_fundus(seed, grade=seed % 5, size=SIZE).image for seed in range(PHOTOGRAPHS)]
    return np.stack([crop_square(image, find_fov(image), SIZE) for image in synthetic])


@pytest.fixture(scope="module")
def runs(photographs: np.ndarray) -> dict[str, Run]:
    """Runner name -> function from [1, S, S, 3] uint8 to probabilities [1, 5]."""
    import onnxruntime
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    network = classifier(SIZE, 5, architecture="efficientnet_b4", batch_norm_momentum=0.5)
    for _ in range(4):
        network(photographs[:4].astype(np.float32), training=True)
    graph = deployable_graph(network, kind="classification", preprocess={"method": "crop"}, target=SERVER).model
    # Probabilities alone: the heat map of our own artifact is no part of the report's comparison.
    bare = keras.Model(graph.input, {"probabilities": graph.output["probabilities"]})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(
        onnx_convert.convert_float32(bare), options, providers=["CPUExecutionProvider"]
    )
    plain, compiled = tf.function(bare), tf.function(bare, jit_compile=True)
    return {
        "onnxruntime": lambda x: session.run(["probabilities"], {"image": x})[0],
        "eager": lambda x: bare(x)["probabilities"].numpy(),
        "predict": lambda x: bare.predict(x, verbose=0)["probabilities"],
        "graph": lambda x: plain(tf.constant(x))["probabilities"].numpy(),
        "xla": lambda x: compiled(tf.constant(x))["probabilities"].numpy(),
    }


@dataclasses.dataclass
class Measured:
    """Total seconds of wall time and of CPU time, and the answers, by runner; the load when it began."""

    wall: dict[str, float]
    cpu: dict[str, float]
    answers: dict[str, np.ndarray]
    load: float


@pytest.fixture(scope="module")
def measured(runs: dict[str, Run], photographs: np.ndarray) -> Measured:
    """Runs each runner over the photographs, one by one, in turns."""
    load = os.getloadavg()[0]
    for run in runs.values():
        for photograph in photographs[:WARMUP]:
            run(photograph[None])
    wall, cpu, answers = dict.fromkeys(runs, 0.0), dict.fromkeys(runs, 0.0), {name: [] for name in runs}
    for photograph in photographs:
        for name, run in runs.items():
            start, used = time.perf_counter(), time.process_time()
            answer = run(photograph[None])
            wall[name] += time.perf_counter() - start
            cpu[name] += time.process_time() - used
            answers[name].append(answer)
    return Measured(wall, cpu, {name: np.concatenate(values) for name, values in answers.items()}, load)


def _ratio(row: str, slow: str, fast: str, measured: Measured) -> float:
    wall, cpu, per = measured.wall, measured.cpu, 1e3 / PHOTOGRAPHS
    print(
        f"\n{row}: {slow} {wall[slow] * per:.0f} ms / {fast} {wall[fast] * per:.0f} ms = {wall[slow] / wall[fast]:.2f} "
        f"(CPU time {cpu[slow] * per:.0f} / {cpu[fast] * per:.0f} = {cpu[slow] / cpu[fast]:.2f}; {THREADS} threads, "
        f"load {measured.load:.1f})"
    )
    return wall[slow] / wall[fast]


def _needs_idle_machine(measured: Measured) -> None:
    if measured.load > THREADS + 0.5:
        pytest.skip(f"the load is {measured.load:.1f} on {THREADS} cores: run it on an idle machine")


def test_answers_are_equal(measured):
    for name, values in measured.answers.items():
        np.testing.assert_allclose(values, measured.answers["eager"], atol=1e-4, err_msg=name)
    assert measured.answers["eager"].std(axis=0).max() > 1e-4  # the photographs do differ


def test_onnxruntime_against_eager(measured):
    ratio = _ratio("eager", "eager", "onnxruntime", measured)
    _needs_idle_machine(measured)
    assert ratio >= 3.2


def test_onnxruntime_against_predict(measured):
    ratio = _ratio("predict", "predict", "onnxruntime", measured)
    _needs_idle_machine(measured)
    assert ratio > 1.0


def test_graph_and_xla_are_printed(measured):
    assert _ratio("graph", "graph", "onnxruntime", measured) > 0
    assert _ratio("xla", "graph", "xla", measured) > 0
