"""How many processor cores this process may use: those it is bound to, and what its control groups allow.

A container is often given two cores of a machine with sixty-four: as many processes would only take turns.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_GROUPS, _MOUNTS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def available(groups: Path = _GROUPS, mounts: Path = _MOUNTS) -> int:
    """Returns how many cores this process may use, at least 1: a share of a core counts as one.

    Args:
      groups: the file that says which control groups the process is in (Linux).
      mounts: the directory where they are mounted.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *(math.ceil(share) for share in _shares(groups, mounts))]))


def _shares(groups: Path, mounts: Path) -> Iterator[float]:
    """Yields the limits in cores of the process's control groups and of those above them."""
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):  # another system
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            roots, read = [mounts, mounts / "unified"], _version_2
        elif "cpu" in controllers.split(","):
            roots, read = [mounts / "cpu", mounts / controllers], _version_1
        else:
            continue
        inside = PurePosixPath(path.lstrip("/"))
        for root in roots:  # in a container the path may be that of the host, which is not there
            for place in (inside, *inside.parents):
                with contextlib.suppress(OSError, ValueError):
                    yield read(root / place)


def _version_2(directory: Path) -> float:
    quota, period = (directory / "cpu.max").read_text(encoding="utf-8").split()
    return int(quota) / int(period)  # "max" is no number: no limit


def _version_1(directory: Path) -> float:
    quota, period = (
        int((directory / f"cpu.cfs_{name}_us").read_text(encoding="utf-8")) for name in ("quota", "period")
    )
    if quota <= 0:
        raise ValueError("no limit")
    return quota / period
