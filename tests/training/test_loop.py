"""The loop: it learns, writes what it promises, and goes on bit for bit where it was killed."""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dr_edge.data import tasks
from dr_edge.losses import classification as classification_losses
from dr_edge.models.resnet_v2_slim import resnet_v2_slim
from dr_edge.training import loop, optimizers, strategies

REPOSITORY = Path(__file__).resolve().parents[2]

SETTINGS = """
train.task = @tasks.referable_dr()
train.model = @models.resnet_v2_slim
models.resnet_v2_slim.channels = (4, 8)
models.resnet_v2_slim.stem_channels = 4
train.epochs = 4
train.batch_size = 8
train.learning_rate = @schedules.cosine()
schedules.cosine.learning_rate = 0.01
pipeline.training_batches.augmentation = @augment.augmentation()
augment.augmentation.rotation = 180.0
augment.augmentation.shift = 0.05
augment.augmentation.brightness = 0.02
"""


def command(records: Path, run_dir: Path, settings: Path, *extra: str) -> list[str]:
    return [
        sys.executable, "-m", "dr_edge.train", f"--gin_file={settings}", f"--records={records}",
        f"--run_dir={run_dir}", *[f"--gin_param={binding}" for binding in extra],
    ]  # fmt: skip


@pytest.fixture(scope="session")
def settings(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "small.gin"
    path.write_text(SETTINGS)
    return path


@pytest.fixture(scope="session")
def finished_run(coloured_records, settings, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    done = subprocess.run(command(coloured_records, run_dir, settings), cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return run_dir


def final_arrays(run_dir: Path) -> dict[str, np.ndarray]:
    newest = sorted((run_dir / "checkpoints").glob("step-*"))[-1]
    with np.load(newest / "variables.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def test_a_run_learns_and_leaves_what_it_promises(finished_run):
    from dr_edge import metadata
    from dr_edge.training.metrics_log import read_metrics

    run = metadata.read_manifest(finished_run, "run")
    assert run["dataset_sha256"] == metadata.sha256_file(metadata.manifest_path(run["records"], "dataset"))
    assert run["status"] == "finished" and run["epochs_run"] == 4
    rows = read_metrics(finished_run)
    assert [(row["split"], row["epoch"]) for row in rows] == [(s, e) for e in (1, 2, 3, 4) for s in ("train", "val")]
    best = max(row["auc"] for row in rows if row["split"] == "val")
    assert run["best"]["value"] == best > 0.9
    operative = (finished_run / "operative_config.gin").read_text()
    assert operative.count("train.epochs = 4") == 1
    for setting in ("augmentation.rotation = 180.0", "augmentation.zoom = 0.0", "training_batches.balance = 'none'"):
        assert setting in operative, operative
    assert list((finished_run / "tensorboard").glob("events*"))
    import keras

    model = keras.models.load_model(finished_run / "best.keras")
    assert {"cam_features", "penultimate", "logits"} <= {layer.name for layer in model.layers}


def test_tensorboard_holds_scalars_augmented_inputs_and_a_confusion_matrix_per_validation(finished_run):
    import cv2
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from dr_edge.training.metrics_log import read_metrics

    events = EventAccumulator(str(finished_run / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert {"train/augmented", "train/loss", "train/learning_rate", "val/auc", "val/confusion"} <= tags
    rows = [row for row in read_metrics(finished_run) if row["split"] == "val"]
    shown = events.Tensors("val/confusion")
    assert [event.step for event in shown] == [row["step"] for row in rows]
    for event, row in zip(shown, rows, strict=True):
        png = event.tensor_proto.string_val[2]
        picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
        counts = np.array(row["confusion"])
        cell = picture.shape[0] // 2
        drawn = 1 - picture[cell // 2 :: cell, cell // 2 :: cell] / 255
        np.testing.assert_allclose(drawn, counts / counts.sum(1, keepdims=True), atol=0.01)
    augmented = events.Tensors("train/augmented")[0].tensor_proto.string_val
    assert len(augmented) == 2 + 8  # width, height and eight pictures


def test_the_finished_run_is_left_alone(finished_run, coloured_records, settings):
    before = (finished_run / "run.json").read_bytes()
    done = subprocess.run(
        command(coloured_records, finished_run, settings), cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0 and "finished already" in done.stderr
    assert "finished: best validation auc " in done.stdout
    assert f"next: python -m dr_edge.evaluate --run_dir={finished_run}\n" in done.stdout
    assert (finished_run / "run.json").read_bytes() == before


def test_another_configuration_is_refused(finished_run, coloured_records, settings):
    done = subprocess.run(
        command(coloured_records, finished_run, settings, "train.epochs = 9"),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "already holds a run of another configuration" in done.stderr and "+train.epochs = 9" in done.stderr


def saved_steps(run_dir: Path) -> set[int]:
    """The steps of the checkpoints that lie in a run directory now."""
    return {int(path.name[5:]) for path in (run_dir / "checkpoints").glob("step-*")}


@pytest.mark.parametrize("kill", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_killed_run_ends_as_the_uninterrupted_one(kill, finished_run, coloured_records, settings, tmp_path):
    """Killed at random steps, it is started again until it ends: equal weights, optimizer and metrics."""
    run_dir = tmp_path / "killed"
    chance = random.Random(3)
    resumed = kills = 0
    for attempt in range(8):
        before = saved_steps(run_dir)
        process = subprocess.Popen(
            command(coloured_records, run_dir, settings), cwd=REPOSITORY, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        if attempt < 2:
            # Not before it has saved something new that is not the end: compiling the step takes longer than the steps.
            deadline = time.monotonic() + 120
            while process.poll() is None and not saved_steps(run_dir) - before and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(chance.uniform(0.0, 0.15))
            kills += process.poll() is None
            process.send_signal(kill)
        _, stderr = process.communicate(timeout=200)
        resumed += "Resuming" in stderr
        assert "In call to configurable" not in stderr
        if process.returncode == 0:
            break
        assert process.returncode in (-signal.SIGKILL, 130, -signal.SIGINT), stderr[-2000:]
    assert kills and resumed, f"{kills} kills and {resumed} resumed runs; the test has shown nothing"
    expected, actual = final_arrays(finished_run), final_arrays(run_dir)
    assert expected.keys() == actual.keys()
    for key in expected:
        np.testing.assert_array_equal(actual[key], expected[key], err_msg=key)
    assert (run_dir / "metrics.jsonl").read_text() == (finished_run / "metrics.jsonl").read_text()


def test_a_mistyped_binding_is_refused_without_a_trace(coloured_records, settings, tmp_path):
    done = subprocess.run(
        command(coloured_records, tmp_path / "run", settings, "train.epohcs = 3"),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Did you mean 'epochs'?" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"task": tasks.optic_disc_and_cup()}, ValueError, r"reads the masks \['optic_disc', 'optic_cup'\]"),
        ({"batch_size": 4000}, ValueError, "batch_size of at most the 48 training examples"),
        ({"epochs": "3"}, ValueError, "train.epochs must be a whole number of at least 1. Received: '3'"),
        ({"checkpoint_epochs": 0}, ValueError, "train.checkpoint_epochs must be"),
        ({"task": tasks.referable_dr}, ValueError, r"Write it with brackets: @tasks.referable_dr\(\)"),
        ({"select_by": "aucc"}, ValueError, "but validation gives"),
        ({"strategy": strategies.mirrored}, RuntimeError, "needs two or more devices"),
        (
            {"loss": classification_losses.cross_entropy(class_weights=(1.0, 1e39))},
            FloatingPointError,
            "step 1 of epoch 1",
        ),
        ({"records": "/nowhere"}, ValueError, "/nowhere is no directory"),
    ],
)
def test_bad_settings_are_refused(changes, error, says, coloured_records, tmp_path):
    arguments = {
        "records": str(coloured_records), "run_dir": str(tmp_path / "run"), "task": tasks.referable_dr(),
        "model": functools.partial(resnet_v2_slim, channels=(4,)), "epochs": 1, "batch_size": 8,
        "learning_rate": optimizers.constant(learning_rate=1e-3),
    }  # fmt: skip
    with pytest.raises(error, match=says):
        loop.train(**{**arguments, **changes})
