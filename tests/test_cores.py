"""How many cores a process may use: those it is bound to, and the limits of its control groups."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dr_edge import cores

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def bound(monkeypatch) -> None:
    """A process that is bound to 16 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def limited(tmp_path: Path, groups: str, **files: str) -> int:
    (tmp_path / "cgroup").write_text(groups)
    for name, text in files.items():
        path = tmp_path / "fs" / name.replace("__", "/").replace("~", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return cores.available(tmp_path / "cgroup", tmp_path / "fs")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("max 100000", 16), ("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1), ("3200000 100000", 16)],
)
def test_a_container_of_version_2(bound, tmp_path, text, expected):
    assert limited(tmp_path, "0::/\n", **{"cpu~max": text + "\n"}) == expected
    assert limited(tmp_path, "0::/docker/of-the-host\n", **{"cpu~max": text + "\n"}) == expected


def test_the_least_limit_of_the_groups_above_counts(bound, tmp_path):
    files = {"user~slice__cpu~max": "300000 100000", "user~slice__own__cpu~max": "800000 100000"}
    assert limited(tmp_path, "0::/user.slice/own\n", **files) == 3


@pytest.mark.parametrize(("quota", "expected"), [("-1", 16), ("400000", 4), ("50000", 1)])
@pytest.mark.parametrize(("controllers", "place"), [("cpu", "cpu"), ("cpu,cpuacct", "cpu,cpuacct")])
def test_version_1(bound, tmp_path, controllers, place, quota, expected):
    files = {f"{place}__own__cpu~cfs_quota_us": quota, f"{place}__own__cpu~cfs_period_us": "100000"}
    assert limited(tmp_path, f"4:memory:/x\n3:{controllers}:/own\n0::/own\n", **files) == expected


@pytest.mark.parametrize("groups", ["", "0::/\n", "0::/gone\n1:cpu:/gone\n"])
def test_without_limits_the_cores_it_is_bound_to_count(bound, tmp_path, groups):
    assert limited(tmp_path, groups) == 16
    assert cores.available(tmp_path / "nothing", tmp_path) == 16


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_a_process_that_is_bound_to_one_core_has_one():
    code = "import os; from dr_edge import cores; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
    done = subprocess.run(
        [sys.executable, "-c", f"{code} print(cores.available())"], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.stdout.strip() == "1", done.stderr
