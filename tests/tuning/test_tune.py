"""The command: real trainings, one of them bad, killed with -9 in the middle and started again."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dr_edge import metadata
from dr_edge.tuning import settings, space

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = """
train.task = @tasks.referable_dr()
train.model = @models.resnet_v2_slim
models.resnet_v2_slim.channels = (4,)
models.resnet_v2_slim.stem_channels = 4
train.epochs = 12
train.batch_size = 8
train.learning_rate = @schedules.constant()
"""


def tune(*arguments: str, **options) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "dr_edge.tune", *arguments]
    return subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, **options)


def test_a_search_leaves_a_table_a_plot_and_a_run_per_trial(coloured_records, tmp_path):
    (tmp_path / "small.gin").write_text(SETTINGS.replace("epochs = 12", "epochs = 1"))
    directory = tmp_path / "search"
    grid = ["--grid=schedules.constant.learning_rate=[1e-2]"]
    done = tune(
        f"--gin_file={tmp_path / 'small.gin'}", f"--records={coloured_records}", f"--run_dir={directory}", *grid
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (row,) = csv.DictReader((directory / "trials.csv").read_text().splitlines())
    run = metadata.read_manifest(directory / row["run_dir"], "run")
    assert row["state"] == "finished" and run["best"]["value"] == float(row["value"])
    assert (directory / "trials.png").stat().st_size > 5000
    assert "best of 1: auc" in done.stdout


@pytest.mark.slow
def test_a_search_survives_a_kill_and_a_bad_trial(coloured_records, tmp_path):
    # What an address of a database would read as its own stands in names, too.
    place = tmp_path / "ñ 眼 Müller%20#{x}?.d"
    gin_file, directory = place / "ñ 眼.gin", place / "search ñ"
    place.mkdir()
    gin_file.write_text(SETTINGS)
    arguments = [
        f"--gin_file={gin_file}", f"--records={coloured_records}", f"--run_dir={directory}",
        "--grid=schedules.constant.learning_rate=[1e-2, 1e-4]", "--grid=train.batch_size=[8, 4000]", "--trials=3",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "dr_edge.tune", *arguments], cwd=REPOSITORY, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(directory.glob("trials/*/metrics.jsonl")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    begun = [path.parent.name for path in directory.glob("trials/*/metrics.jsonl")]
    assert len(begun) == 1, "nothing had begun when it was killed"

    done = tune(*arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = list(csv.DictReader((directory / "trials.csv").read_text().splitlines()))
    assert sorted(row["state"] for row in rows) == ["failed", "finished", "finished"]
    bad = next(row for row in rows if row["state"] == "failed")
    assert bad["train.batch_size"] == "4000" and "batch_size of at most the 48 training examples" in bad["reason"]
    assert f"trials/{begun[0]}" in [row["run_dir"] for row in rows if row["state"] == "finished"]
    for row in rows:
        if row["state"] == "finished":
            run = metadata.read_manifest(directory / row["run_dir"], "run")
            assert run["status"] == "finished" and run["best"]["value"] == float(row["value"])
            config = (directory / row["run_dir"] / "config.gin").read_text()
            assert f"constant.learning_rate = {row['schedules.constant.learning_rate']}" in config
    assert (directory / "trials.png").stat().st_size > 5000 and (directory / "study.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [place.name]
    assert "best of 2: auc" in done.stdout and "FAILED: train needs a batch_size" in done.stderr
    before = (directory / "trials.csv").read_text()
    assert tune(*arguments).returncode == 0 and (directory / "trials.csv").read_text() == before
    assert "of another search: gin_params differ" in tune(*arguments, "--gin_param=train.seed = 1").stderr


@pytest.mark.slow
def test_a_damaged_checkpoint_of_a_killed_trial_is_set_aside(coloured_records, tmp_path):
    (tmp_path / "small.gin").write_text(SETTINGS)
    directory = tmp_path / "search"
    arguments = [
        f"--gin_file={tmp_path / 'small.gin'}", f"--records={coloured_records}", f"--run_dir={directory}",
        "--grid=schedules.constant.learning_rate=[1e-2]",
    ]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "dr_edge.tune", *arguments], cwd=REPOSITORY)
    deadline = time.monotonic() + 120
    while len(list(directory.glob("trials/*/checkpoints/step-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before, newest = sorted(directory.glob("trials/*/checkpoints/step-*"))[-2:]
    os.truncate(newest / "variables.npz", 100)

    done = tune(*arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    (log,) = directory.glob("logs/*.log")
    said = " ".join(log.read_text().split())
    assert f"set aside as damaged-{newest.name}, and the run goes on from {before.name}" in said
    (row,) = csv.DictReader((directory / "trials.csv").read_text().splitlines())
    assert row["state"] == "finished"


def test_help_and_bad_flags_need_no_tensorflow(tmp_path):
    blocked = {**os.environ, "PYTHONPATH": str(tmp_path)}
    (tmp_path / "tensorflow.py").write_text("raise RuntimeError('TensorFlow was imported')")
    (tmp_path / "keras.py").write_text("raise RuntimeError('Keras was imported')")
    shown = tune("--help", env=blocked)
    assert "one run directory per trial" in " ".join(shown.stdout.split()) and "was imported" not in shown.stderr
    refused = tune("--gin_file=x.gin", f"--run_dir={tmp_path / 'd'}", "--grid=train.epochs=3", env=blocked)
    assert (
        refused.returncode == 1
        and "--grid needs NAME=[value, ...]" in refused.stderr
        and "Traceback" not in refused.stderr
    )


@pytest.mark.slow
def test_a_mistake_is_said_before_the_first_trial(tmp_path):
    (tmp_path / "small.gin").write_text(SETTINGS)
    flags = [f"--gin_file={tmp_path / 'small.gin'}", f"--run_dir={tmp_path / 'search'}"]
    for wrong, says in (
        ("--grid=train.batch_sze=[16, 23]", "Did you mean 'batch_size'?"),
        ("--nomaximize", "train.select_by is 'auc': give --maximize"),
    ):
        done = tune(*flags, "--grid=train.batch_size=[8]", wrong)
        assert done.returncode == 1 and says in done.stderr and "Traceback" not in done.stderr, done.stderr[-2000:]
        assert not (tmp_path / "search").exists()


def test_the_check_reads_every_value_and_the_metric(clean_gin, tmp_path):
    (tmp_path / "small.gin").write_text(SETTINGS)

    def answer(*bindings):
        return settings._answer(
            {"gin_files": [str(tmp_path / "small.gin")], "bindings": [[], *([one] for one in bindings)]}
        )

    assert "Did you mean 'adamw'?" in answer("train.optimizer = @adamw", "train.optimizer = @adamww")["error"]
    assert "'train.epochs = three'" in answer("train.epochs = three")["error"]
    assert answer("train.select_by = 'loss'") == {"error": None, "metrics": ["auc", "loss"]}


def test_each_value_of_each_dimension_is_checked_once():
    dimensions = [
        space.parse_grid("a.x=[1, 2, 3]"),
        space.parse_search("a.y=logint(4, 8)"),
        space.parse_search("a.z=uniform(0.5, 1)"),
    ]
    assert settings.candidates(dimensions) == [[f"a.x = {x}", "a.y = 4", "a.z = 0.5"] for x in (1, 2, 3)]
