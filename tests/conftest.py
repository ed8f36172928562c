"""Fixtures that several rooms share; each says what it gives. fixtures/ has those of records, runs, bundles."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# A shell's background job, or nohup, starts the tests with signals ignored, and the commands they interrupt would
# inherit that.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

# A machine that others use, too, is no reason for an example to fail.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

REPOSITORY = Path(__file__).resolve().parent.parent
# Some installed packages bring a top-level `tests` of their own.
sys.path.insert(0, str(Path(__file__).parent / "fixtures"))
pytest_plugins = ["made_once", "stand_in", "coloured", "synthetic"]

# Files that take longest begin first: one that began last would be waited for by idle processors.
LONGEST = (
    "training/test_loop.py", "export/tflite/test_convert.py", "training/test_devices.py",
    "export/bundle/test_front_matter.py", "tuning/test_tune.py", "tfrecord_tools/test_kill.py",
    "test_model_contract.py", "serve/test_reports_fit.py", "bundle_files/test_schema.py",
    "android_bench/test_real_adb.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of LONGEST before the others; the order is the same otherwise."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory of real photographs (DR_EDGE_DATA, by default ../shared/data); the test is skipped without it."""
    directory = Path(os.environ.get("DR_EDGE_DATA", REPOSITORY / ".." / "shared" / "data")).resolve()
    if not directory.is_dir():
        pytest.skip(f"no real photographs at {directory}; set DR_EDGE_DATA to a directory that holds them")
    return directory


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The directory of ImageNet weights (DR_EDGE_WEIGHTS, by default ../shared/weights); skipped without it."""
    directory = Path(os.environ.get("DR_EDGE_WEIGHTS", REPOSITORY / ".." / "shared" / "weights")).resolve()
    if not directory.is_dir():
        pytest.skip(f"no ImageNet weights at {directory}; set DR_EDGE_WEIGHTS to a directory that holds them")
    return directory


@pytest.fixture(scope="session")
def starts() -> Callable[[Callable[[], object]], float]:
    """starts(run): the processor time of the processes that run() starts, in starts of a bare Python.

    Neither a slow processor nor a busy one changes it much: `--help` takes 3 to 6 of them, importing TensorFlow more
    than 100.
    """

    def seconds(run: Callable[[], object]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def measure(run: Callable[[], object]) -> float:
        bare = [seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)) for _ in range(3)]
        return seconds(run) / max(sorted(bare)[1], 1e-3)

    return measure


@pytest.fixture
def clean_gin() -> Iterator[None]:
    """No gin binding before the test, and none left behind it."""
    import gin

    gin.clear_config()
    yield
    gin.clear_config()


@pytest.fixture
def settings(clean_gin: None) -> Callable[..., dict[str, Any]]:
    """settings(name, *bindings): what gin_configs/<name>.gin binds of `train`, read strictly."""
    import gin

    from dr_edge import config

    def read(name: str, *bindings: str) -> dict[str, Any]:
        gin.clear_config()
        config.parse([f"gin_configs/{name}.gin"], ["train.records = 'r'", "train.run_dir = 'd'", *bindings])
        return gin.get_bindings("train")

    return read
