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


@pytest.mark.slow
def test_a_search_survives_a_kill_and_a_bad_trial(coloured_records, tmp_path):
    settings, directory = tmp_path / "small.gin", tmp_path / "search"
    settings.write_text(SETTINGS)
    arguments = [
        f"--gin_file={settings}", f"--records={coloured_records}", f"--run_dir={directory}",
        "--grid=schedules.constant.learning_rate=[1e-2, 1e-4]", "--grid=train.batch_size=[8, 4000]", "--trials=3",
    ]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "dr_edge.tune", *arguments], cwd=REPOSITORY, start_new_session=True)
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
    assert (directory / "trials.png").stat().st_size > 5000
    assert "best of 2: auc" in done.stdout and "FAILED: train needs a batch_size" in done.stderr
    before = (directory / "trials.csv").read_text()
    assert tune(*arguments).returncode == 0 and (directory / "trials.csv").read_text() == before
    assert "of another search: gin_params differ" in tune(*arguments, "--gin_param=train.seed = 1").stderr


def test_help_and_bad_flags_need_no_tensorflow(tmp_path):
    blocked = {**os.environ, "PYTHONPATH": str(tmp_path)}
    (tmp_path / "tensorflow.py").write_text("raise RuntimeError('TensorFlow was imported')")
    (tmp_path / "keras.py").write_text("raise RuntimeError('Keras was imported')")
    shown = tune("--help", env=blocked)
    assert "one run directory per trial" in shown.stdout and "was imported" not in shown.stderr
    refused = tune("--gin_file=x.gin", f"--run_dir={tmp_path / 'd'}", "--grid=train.epochs=3", env=blocked)
    assert refused.returncode == 1 and "--grid needs NAME=[value, ...]" in refused.stderr and "Traceback" not in refused.stderr
