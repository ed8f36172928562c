"""Commands that are killed with -9 at work: the next run of the same command leaves nothing of theirs behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SETTINGS = """
train.task = @tasks.referable_dr()
train.model = @models.resnet_v2_slim
models.resnet_v2_slim.channels = (4,)
models.resnet_v2_slim.stem_channels = 4
train.epochs = 4
train.batch_size = 8
train.learning_rate = 1e-3
"""


class Place:
    """A working directory with a temporary directory of its own, in which commands are killed and repeated."""

    def __init__(self, path: Path) -> None:
        self.path, self.temporary = path, path / "tmp"
        self.temporary.mkdir()
        self._environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(self.temporary)}

    def left(self) -> list[str]:
        """What a finished command leaves nothing of: anything temporary, and names that begin with a dot."""
        found = [*self.temporary.iterdir(), *(path for path in self.path.rglob(".*") if path.name != ".lock")]
        return sorted(str(path.relative_to(self.path)) for path in found)

    def kill(self, line: list[str], when: Callable[[], object]) -> None:
        """Starts a command and kills it, as a lack of memory would, once `when` is true; its children die, too."""
        process = subprocess.Popen(
            [sys.executable, *line], cwd=self.path, env=self._environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 240
        while not when() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        early = process.poll()
        assert early is None, f"{line}: not at work any more when it was to be killed (status {early})"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert when(), f"{line}: four minutes were too short for it to begin"
        assert self.left(), "nothing was left, so nothing is shown"

    def repeat(self, line: list[str]) -> None:
        done = subprocess.run(
            [sys.executable, *line], cwd=self.path, env=self._environment, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert self.left() == []


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path)


@pytest.mark.slow
def test_train(place, coloured_records):
    (place.path / "a.gin").write_text(SETTINGS)
    line = ["-m", "dr_edge.train", "--gin_file=a.gin", f"--records={coloured_records}", "--run_dir=run"]
    place.kill(line, lambda: list(place.path.glob("run/checkpoints/step-*")) and place.left())
    place.repeat(line)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "explain", "export"])
def test_what_reads_a_run(command, place, stand_in_run, stand_in_records):
    shutil.copytree(stand_in_run, place.path / "run")
    lenient = [f"--gin_param=export.settings.{name} = 1.0" for name in ("max_graph_auc_drop", "max_auc_drop")]
    line, staged = {
        "evaluate": (["-m", "dr_edge.evaluate", "--run_dir=run"], "run/evaluation/..test.next.*.tmp"),
        "explain": (
            [
                "-m",
                "dr_edge.explain",
                "--run_dir=run",
                f"--images={stand_in_records}",
                "--methods=gradcam",
                "--out=maps",
            ],
            ".maps.*.tmp/*",
        ),
        "export": (["-m", "export", "--run_dir=run", "--out=bundle", "--formats=all", *lenient], ".bundle.*.tmp/*"),
    }[command]
    place.kill(line, lambda: list(place.path.glob(staged)))
    if command == "export":
        place.repeat([part for part in line if part != "--formats=all"])
    else:
        place.repeat(line)


@pytest.mark.slow
def test_bench(place, stand_in_bundle):
    line = ["-m", "android_bench", f"--bundle={stand_in_bundle}", "--target=host", "--out=bench", "--sessions=1",
            "--runs=5", "--min_secs=0", "--warmup_secs=0", "--warmup_runs=1"]  # fmt: skip
    place.kill(line, lambda: list(place.path.glob(".bench.*.tmp/logs/*")))
    place.repeat(line)


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["local", "DirectRunner"])
def test_build(runner, place):
    line = ["-m", "tfrecord_tools.build", "--dataset=synthetic", "--limit=120", "--image_size=64", "--out=records",
            f"--runner={runner}"]  # fmt: skip
    place.kill(line, lambda: list(place.path.glob(".records.building/spool/*")))
    place.repeat(line)


@pytest.mark.slow
def test_an_evaluation_that_was_killed_while_it_took_the_place_of_an_older_one(place, stand_in_run):
    from dr_edge.evaluation import flow

    run = shutil.copytree(stand_in_run, place.path / "run")
    settings = flow.Settings(examples=0, heatmap_checks=False)
    flow.evaluate(run, settings)
    os.replace(run / "evaluation" / "test", run / "evaluation" / ".test.old")  # the moment between two renames
    (run / "evaluation" / ".test.next").mkdir()
    flow.evaluate(run, settings)
    assert [path.name for path in (run / "evaluation").iterdir()] == ["test"]
