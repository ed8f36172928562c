"""One loop, any devices: two logical CPU devices and two processes on loopback end where one device ends.

The loss is of two augmented views and their consistency, which each device computes for its own share of a batch.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# No batch normalisation: its statistics are each device's own, so it would differ by design.
PROGRAM = """
import os, sys
import tensorflow as tf
if os.environ.get("LOGICAL"):
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration()] * int(os.environ["LOGICAL"])
    tf.config.set_logical_device_configuration(cpu, devices)
import keras
import gin
from dr_edge.data import augment, degraded, tasks
from dr_edge.training import loop, optimizers, strategies

def model(size, outputs):
    return keras.Sequential([
        keras.Input((size, size, 3)), keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(4, 5, strides=4, activation="relu"),
        keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(outputs, name="logits"),
    ])

records, run_dir, strategy = sys.argv[1:]
photograph = degraded.photograph(brightness=0.3, gamma=0.4, jpeg=0.6)
gin.bind_parameter("training_batches.augmentation", augment.augmentation(rotation=90.0, photograph=photograph))
loop.train(
    records=records, run_dir=run_dir, task=tasks.referable_dr(), model=model, epochs=2, batch_size=8,
    learning_rate=optimizers.constant(learning_rate=0.01), strategy=getattr(strategies, strategy), clip_norm=0.05,
    ema_decay=0.9, consistency=0.7,
)
"""


def arguments(records: Path, run_dir: Path, strategy: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(records), str(run_dir), strategy]


def weights(run_dir: Path) -> list[np.ndarray]:
    newest = sorted((run_dir / "checkpoints").glob("step-*"))[-1]
    with np.load(newest / "variables.npz") as arrays:
        return [arrays[key] for key in arrays.files if not key.split("/")[1].startswith("seed")]


@pytest.fixture(scope="module")
def one_device(coloured_records, tmp_path_factory) -> list[np.ndarray]:
    run_dir = tmp_path_factory.mktemp("one") / "run"
    subprocess.run(arguments(coloured_records, run_dir, "one_device"), cwd=REPOSITORY, check=True, capture_output=True)
    return weights(run_dir)


def compare(expected: list[np.ndarray], actual: list[np.ndarray]) -> None:
    assert len(expected) == len(actual) > 4
    for left, right in zip(expected, actual, strict=True):
        np.testing.assert_allclose(right, left, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_logical_devices_end_where_one_ends(one_device, coloured_records, tmp_path):
    environment = {**os.environ, "LOGICAL": "2"}
    subprocess.run(
        arguments(coloured_records, tmp_path / "run", "mirrored"),
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        env=environment,
    )
    compare(one_device, weights(tmp_path / "run"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    shown = events.Tensors("train/augmented")[0].tensor_proto.string_val
    assert len(shown) == 2 + 4, "width, height and the four pictures of the first device"


def test_two_processes_end_where_one_ends(one_device, coloured_records, tmp_path):
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    workers = [f"127.0.0.1:{port}" for port in ports]
    processes = []
    for index in range(2):
        config = json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        processes.append(
            subprocess.Popen(
                arguments(coloured_records, tmp_path / "run", "multi_worker"),
                cwd=REPOSITORY,
                env={**os.environ, "TF_CONFIG": config},
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    outputs = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs[0][-3000:] + outputs[1][-3000:]
    compare(one_device, weights(tmp_path / "run"))


def test_several_machines_need_their_names(monkeypatch):
    from dr_edge.training import strategies

    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="TF_CONFIG with two or more workers"):
        strategies.multi_worker()
