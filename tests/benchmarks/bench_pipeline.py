"""The input pipeline alone against what the model takes: whether training ever waits for its images.

    python -m pytest tests/benchmarks/bench_pipeline.py -o python_files='bench_*.py' -s

Reads drawn records of 224 px (parse, decode, oversample, augment, batch, as training does) and prints, for each set of
augmentations, images per second, CPU milliseconds per image over all threads, and the ratio to the training step of
MobileNetV3-Small + CBAM on a batch in memory (bar: 3x, with the augmentation of gin_configs/system_b_idrid.gin).
Pipelines and step take turns and each has all cores; the last row runs both at once. Needs an idle machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from dr_edge.data import augment, degraded, pipeline, tasks
from dr_edge.losses import classification as classification_losses
from dr_edge.models.mobilenet_v3_cbam import mobilenet_v3_cbam
from dr_edge.training.step import build_train_step

BAR, BATCH, TURNS, PASSES = 3.0, 16, 5, 3
SETS: dict[str, dict[str, Any]] = {
    "none": {"rotation": 0.0, "flip": False},
    "turns": {"rotation": 180.0},
    "base.gin": {"rotation": 180.0, "photograph": degraded.photograph()},
    "system B": {"rotation": 180.0, "shift": 0.05, "zoom": 0.15, "shear": 5.0, "brightness": 0.05},
    "everything": {
        "rotation": 180.0, "shift": 0.1, "zoom": 0.25, "shear": 15.0, "brightness": 0.1, "contrast": 0.25,
        "saturation": 0.25,
        "hue": 0.02, "blur": 0.004, "jpeg": 0.5, "cutout": 0.15,
    },
}  # fmt: skip


def batches(records: Path, settings: dict[str, Any]) -> tf.data.Dataset:
    """Several epochs, so that opening the shards and building the graph count as little as in a long epoch."""
    return pipeline.training_batches(
        records, tasks.referable_dr(), BATCH, 0, 0, augmentation=augment.augmentation(**settings), balance="oversample"
    ).repeat(PASSES)


def through(data: tf.data.Dataset, step: Callable[..., tf.Tensor] | None = None) -> int:
    """Takes every batch of `data`, and trains on it where there is a step; returns the number of images."""
    count, loss = 0, 0.0
    for batch in data:
        count += BATCH
        loss = 0.0 if step is None else step(batch)
    float(loss)
    return count


def measure(jobs: dict[str, Callable[[], int]]) -> dict[str, tuple[float, float]]:
    """Returns the median (images per second, CPU ms per image) of each job; they take turns, after one warm-up each."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for turn in range(TURNS + 1):
        for name, job in jobs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            count = job()
            if turn:
                seen[name].append((count / (time.perf_counter() - wall), 1000 * (time.process_time() - cpu) / count))
    return {name: tuple(statistics.median(column) for column in zip(*rows, strict=True)) for name, rows in seen.items()}


def test_the_pipeline_outruns_the_model(synthetic_records: Path):
    keras.utils.set_random_seed(0)
    network = mobilenet_v3_cbam(224, 2, variant="small")
    optimizer = keras.optimizers.Adam(1e-4)
    optimizer.build(network.trainable_variables)
    step = build_train_step(
        network, optimizer, classification_losses.cross_entropy(), tf.distribute.get_strategy(), BATCH
    )
    held = next(iter(batches(synthetic_records, SETS["none"])))
    memory = tf.data.Dataset.from_tensors(held).repeat(5)
    data = {name: batches(synthetic_records, settings) for name, settings in SETS.items()}
    jobs: dict[str, Callable[[], int]] = {"model": lambda: through(memory, step)}
    jobs |= {name: lambda source=source: through(source) for name, source in data.items()}
    jobs |= {"both": lambda: through(data["system B"].take(5), step)}
    found = measure(jobs)
    consumed = found["model"][0]
    print(
        f"\nMobileNetV3-Small + CBAM, 224 px, batch {BATCH}, takes {consumed:.0f} images/s ({found['model'][1]:.1f} CPU"
        " ms each)"
    )
    for name in SETS:
        rate, cpu = found[name]
        judged = f"  bar {BAR:.1f}x: {'pass' if rate / consumed >= BAR else 'FAIL'}" if name == "system B" else ""
        print(f"pipeline, {name:10}: {rate:6.0f} images/s ({cpu:4.1f} CPU ms each), {rate / consumed:5.1f}x{judged}")
    print(
        f"both at once, system B: {found['both'][0]:.0f} images/s, {found['both'][0] / consumed:.2f}x of the step alone"
    )
    assert found["system B"][0] / consumed >= BAR
