"""The training step, in ratios measured side by side in one process: turns alternate, a busy machine slows all alike.

    python -m pytest tests/benchmarks/bench_train.py -o python_files='bench_*.py' -s

MobileNetV3-Small + CBAM at 224 px from random weights, Adam, one batch that is in memory already. Rows:
- autograph: the same step run eagerly, operation by operation, over the compiled step (bar: 2.5x at batch 4, the batch
  of system B, which reports 1.66x; larger batches are shown);
- fit: Keras's own model.fit on the same batches over ours (bar: not slower than fit by more than 5 %);
- xla: the plain compiled step over the XLA one (no bar: on CPUs XLA often loses);
- bfloat16: the float32 step over the bfloat16 one (no bar: few CPUs gain).
On a GPU the same rows are measured there. Needs an idle machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import keras
import numpy as np
import pytest
import tensorflow as tf

from dr_edge.losses import classification as classification_losses
from dr_edge.models.mobilenet_v3_cbam import mobilenet_v3_cbam
from dr_edge.training import precision as precision_lib
from dr_edge.training.step import build_train_step

SIZE = 224
AUTOGRAPH_BAR, FIT_BAR = 2.5, 0.95
TURNS = 7


def batch_of(size: int) -> dict[str, tf.Tensor]:
    random = np.random.default_rng(0)
    image = tf.constant(random.uniform(0, 255, (size, SIZE, SIZE, 3)), tf.float32)
    return {"image": image, "label": tf.constant(random.integers(0, 2, size), tf.int32)}


def our_step(
    size: int, precision: str = "float32", xla: bool = False
) -> Callable[[Mapping[str, tf.Tensor]], tf.Tensor]:
    keras.utils.set_random_seed(0)
    with precision_lib.policy(precision):
        network = mobilenet_v3_cbam(SIZE, 2, variant="small")
    optimizer = keras.optimizers.Adam(1e-4)
    optimizer.build(network.trainable_variables)
    return build_train_step(
        network, optimizer, classification_losses.cross_entropy(), tf.distribute.get_strategy(), size, xla=xla
    )


def alternate(
    before: Callable[[], object], after: Callable[[], object], turns: int = TURNS
) -> list[tuple[float, float]]:
    """Returns the median (wall seconds, CPU seconds over all threads) of two jobs in turns, after one warm-up each."""
    seen: list[list[tuple[float, float]]] = [[], []]
    for turn in range(turns + 1):
        for values, job in zip(seen, (before, after), strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            job()
            if turn:
                values.append((time.perf_counter() - wall, time.process_time() - cpu))
    return [(statistics.median(w for w, _ in values), statistics.median(c for _, c in values)) for values in seen]


def row(name: str, size: int, seconds: list[tuple[float, float]], bar: float | None, steps: int = 1) -> float:
    """Prints a row and returns the ratio of wall time. That of CPU time is what a busy machine changes little."""
    (before, before_cpu), (after, after_cpu) = seconds
    judged = "" if bar is None else f"  bar {bar:.2f}x: {'pass' if before / after >= bar else 'FAIL'}"
    rates = (
        f"{1000 * before / steps:7.0f} ms -> {1000 * after / steps:7.0f} ms a step, {size * steps / after:6.1f} "
        "images/s"
    )
    print(
        f"\n{name:10} batch {size:3}: {rates}, {before / after:5.2f}x (CPU time {before_cpu / after_cpu:.2f}x){judged}",
        flush=True,
    )
    return before / after


def eagerly(step: Callable[[Mapping[str, tf.Tensor]], tf.Tensor], batch: Mapping[str, tf.Tensor]) -> float:
    tf.config.run_functions_eagerly(True)
    try:
        return float(step(batch))
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize(("size", "bar"), [(4, AUTOGRAPH_BAR), (16, None)])
def test_autograph_against_eager(size: int, bar: float | None):
    batch, compiled, eager = batch_of(size), our_step(size), our_step(size)
    seconds = alternate(lambda: eagerly(eager, batch), lambda: float(compiled(batch)))
    assert row("autograph", size, seconds, bar) >= (bar or 0)


@pytest.mark.parametrize("size", [16])
def test_our_loop_against_fit(size: int):
    batch, ours, steps = batch_of(size), our_step(size), 4
    keras.utils.set_random_seed(0)
    network = mobilenet_v3_cbam(SIZE, 2, variant="small")
    network.compile(keras.optimizers.Adam(1e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = tf.data.Dataset.from_tensors((batch["image"], batch["label"])).repeat(steps).prefetch(1)
    mine = tf.data.Dataset.from_tensors(batch).repeat(steps).prefetch(1)

    def loop() -> list[float]:
        return [float(loss) for loss in [ours(one) for one in mine]]

    seconds = alternate(lambda: network.fit(data, verbose=0), loop)
    assert row("fit", size, seconds, FIT_BAR, steps) >= FIT_BAR


@pytest.mark.parametrize("size", [16])
def test_xla_against_plain(size: int):
    batch, plain, xla = batch_of(size), our_step(size), our_step(size, xla=True)
    assert row("xla", size, alternate(lambda: float(plain(batch)), lambda: float(xla(batch)), turns=3), None) > 0


@pytest.mark.parametrize("size", [16])
def test_bfloat16_against_float32(size: int):
    batch, plain, short = batch_of(size), our_step(size), our_step(size, "bfloat16")
    assert row("bfloat16", size, alternate(lambda: float(plain(batch)), lambda: float(short(batch)), turns=3), None) > 0
