"""Interrupted anywhere and started again, a run ends with the weights and metrics.jsonl of the uninterrupted one."""

from __future__ import annotations

import functools
from pathlib import Path

import keras
import pytest
from plain_training import STEPS, arguments, ask_to_stop, check_equal, die, weights

from dr_edge import locks, metadata
from dr_edge.data import augment, degraded, pipeline
from dr_edge.training import checkpoints, loop, optimizers, trainer
from dr_edge.training.metrics_log import read_metrics


@pytest.fixture(scope="module")
def whole(coloured_records, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    loop.train(**arguments(coloured_records, run_dir))
    assert len(read_metrics(run_dir)) == 4
    return run_dir


def test_a_checkpoint_at_the_last_step_of_an_epoch_is_brought_up_to_date_after_validation(
    whole, coloured_records, tmp_path, at_step
):
    again = arguments(coloured_records, tmp_path / "cut", checkpoint_minutes=1e-9)
    at_step(STEPS + 1, die)
    with pytest.raises(KeyboardInterrupt):
        loop.train(**again)
    newest = checkpoints.existing(tmp_path / "cut" / "checkpoints")[-1]
    assert newest.name == f"step-{STEPS:08d}" and '"epoch": 1' in (newest / "checkpoint.json").read_text()
    at_step(100, die)
    loop.train(**again)
    check_equal(whole, tmp_path / "cut")


def test_ctrl_c_at_the_last_step_and_then_a_kill(whole, coloured_records, tmp_path, at_step):
    again = arguments(coloured_records, tmp_path / "cut")
    at_step(STEPS, ask_to_stop)
    with pytest.raises(loop.Interrupted):
        loop.train(**again)
    assert read_metrics(tmp_path / "cut") == []
    at_step(2, die)  # after the validation that the first process did not make
    with pytest.raises(KeyboardInterrupt):
        loop.train(**again)
    at_step(100, die)
    loop.train(**again)
    check_equal(whole, tmp_path / "cut")


def test_a_kill_between_the_rows_of_an_epoch_and_its_checkpoint(
    whole, coloured_records, tmp_path, at_step, monkeypatch
):
    again = arguments(coloured_records, tmp_path / "cut", checkpoint_minutes=1e-9)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer, "is_better", lambda *rest: die())
        loop.train(**again)
    assert [row["split"] for row in read_metrics(tmp_path / "cut")] == ["train", "val"]
    loop.train(**again)
    check_equal(whole, tmp_path / "cut")


@pytest.mark.slow
def test_resumed_with_dropout_oversampling_two_augmented_views_and_a_frozen_first_stage(
    coloured_records, tmp_path, at_step, monkeypatch
):
    batches = functools.partial(
        pipeline.training_batches,
        balance="oversample",
        augmentation=augment.augmentation(rotation=180.0, photograph=degraded.photograph()),
    )
    monkeypatch.setattr(pipeline, "training_batches", batches)
    more = {
        "epochs": 3, "frozen_backbone_epochs": 1, "consistency": 0.5,
        "optimizer": functools.partial(optimizers.adamw, weight_decay=0.01),
        "learning_rate": optimizers.two_stage(head_learning_rate=0.01, head_epochs=1, learning_rate=0.001),
    }  # fmt: skip
    loop.train(**arguments(coloured_records, tmp_path / "whole", **more))
    again = arguments(coloured_records, tmp_path / "cut", **more, checkpoint_minutes=1e-9)
    for step in (2, 4):  # in the frozen stage, and in the middle of the other
        at_step(step, die)
        with pytest.raises(KeyboardInterrupt):
            loop.train(**again)
    newest = checkpoints.existing(tmp_path / "cut" / "checkpoints")[-1]
    assert newest.name == "step-00000004"
    at_step(100, die)
    loop.train(**again)
    check_equal(tmp_path / "whole", tmp_path / "cut")
    assert any("seed" in key for key in weights(tmp_path / "cut")), "no dropout, nothing shown"


def test_early_stopping_ends_the_run_and_saves_it(coloured_records, tmp_path):
    settings = arguments(
        coloured_records, tmp_path / "run", epochs=9, early_stopping_epochs=2, checkpoint_epochs=4,
        freeze_batch_norm=True, learning_rate=optimizers.constant(learning_rate=0.0),  # no epoch beats the first
    )  # fmt: skip
    run = loop.train(**settings)
    assert run["status"] == "finished" and run["epochs_run"] == 3 and run["best"]["epoch"] == 1
    saved = checkpoints.existing(tmp_path / "run" / "checkpoints")
    assert [path.name for path in saved] == [f"step-{3 * STEPS:08d}"]
    assert '"epoch": 3' in (saved[0] / "checkpoint.json").read_text()


def test_a_failed_first_training_does_not_block_its_corrected_command(coloured_records, tmp_path, clean_gin):
    import gin

    from dr_edge.training import run_directory

    gin.bind_parameter("train.epochs", 2)
    run_dir = tmp_path / "run"
    with pytest.raises(ValueError, match="no such file"):
        loop.train(**arguments(coloured_records, run_dir, model=_missing_weights))
    gin.bind_parameter("train.epochs", 3)
    assert run_directory.claim(run_dir, coloured_records) == "new"
    assert "train.epochs = 3" in (run_dir / "config.gin").read_text()
    assert not metadata.manifest_path(run_dir, "run").exists()
    run_directory.release(run_dir)

    (run_dir / "best.keras").write_bytes(b"trained")  # validation is over, the first checkpoint is not there yet
    gin.bind_parameter("train.epochs", 4)
    with pytest.raises(ValueError, match="already holds a run of another configuration"):
        run_directory.claim(run_dir, coloured_records)


def test_a_run_that_lives_is_not_taken_over(coloured_records, tmp_path, clean_gin):
    """Another process holds the directory and has saved nothing yet."""
    import subprocess
    import sys

    import gin

    from dr_edge.training import run_directory

    gin.bind_parameter("train.epochs", 2)
    run_directory.claim(tmp_path / "run", coloured_records)
    run_directory.release(tmp_path / "run")
    program = (
        "import pathlib, sys; from dr_edge import locks; path = pathlib.Path(sys.argv[1]); "
        "lock = locks.take(path / '.lock', path, 'trained'); print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "held\n"
    named = rf"is being trained by process {other.pid} on .* since 20\d\d-.*, or give another --run_dir\."
    with pytest.raises(locks.InUse, match=named):  # also with the same command
        run_directory.claim(tmp_path / "run", coloured_records)
    with pytest.raises(locks.InUse, match=named):
        loop.train(**arguments(coloured_records, tmp_path / "run"))
    gin.bind_parameter("train.epochs", 3)
    with pytest.raises(locks.InUse, match=named):
        run_directory.claim(tmp_path / "run", coloured_records)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    other.kill()  # a killed process blocks nobody
    other.wait()
    assert run_directory.claim(tmp_path / "run", coloured_records) == "new"
    run_directory.release(tmp_path / "run")


def test_what_a_killed_training_was_writing_goes_and_what_others_write_stays(coloured_records, tmp_path, clean_gin):
    import gin

    from dr_edge.training import run_directory

    gin.bind_parameter("train.epochs", 2)
    run = tmp_path / "run"
    run.mkdir()
    (run / ".config.gin.12345678.tmp").write_text("half of a")  # killed before it held anything
    (run / ".lock").touch()
    assert run_directory.claim(run, coloured_records) == "new"
    run_directory.release(run)
    half = [
        run / ".run.json.12345678.tmp",
        run / ".best.tmp.keras",
        run / "checkpoints" / ".step-00000002.12345678.tmp" / "variables.npz",
    ]
    explained = run / ".heatmaps.12345678.tmp" / "index.html"
    for path in (*half, explained):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    run_directory.claim(run, coloured_records)
    run_directory.release(run)
    assert not any(path.exists() for path in half) and explained.exists()
    assert list((run / "checkpoints").iterdir()) == [] and not list(run.glob(".config*"))


def _missing_weights(image_size: int, outputs: int) -> keras.Model:
    from dr_edge.models import backbones

    features = backbones.mobilenet_v2(keras.Input((image_size, image_size, 3)), weights="/nowhere.h5")
    raise AssertionError(f"made {features} of no file for {outputs} outputs")
