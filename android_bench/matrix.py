"""What is measured: artifact x threads x delegate x core mask, and how long."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence
from typing import Any

from android_bench.bundle import Artifact

DELEGATES = ("xnnpack", "none", "gpu", "nnapi", "npu")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row of the matrix.

    Attributes:
      artifact: the model file.
      threads: CPU threads.
      delegate: one of DELEGATES; 'none' is the runtime's own CPU kernels.
      core_mask: hexadecimal, as taskset takes it ('f0'); empty leaves the choice to the scheduler.
    """

    artifact: Artifact
    threads: int
    delegate: str
    core_mask: str

    @property
    def name(self) -> str:
        """Names raw logs and plot labels: 'static_int8.tflite-t4-gpu-f0'."""
        parts = [f"{self.artifact.variant}.{self.artifact.format}", f"t{self.threads}", self.delegate]
        return "-".join(parts + [self.core_mask] * bool(self.core_mask))


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long each cell is measured.

    Attributes:
      sessions: processes per cell, interleaved over the matrix, so that a drift meets every cell alike.
      runs: least timed runs per session.
      min_secs: least seconds of timed runs per session.
      warmup_runs: least runs before the timed ones.
      warmup_secs: least seconds before the timed ones.
      sustained_minutes: minutes without a pause after the sessions, one point each; 0 leaves them out.
      point_secs: seconds per point (60; tests take less).
      timeout_secs: a session is given up after this long.
      cooldown_secs: the longest wait for thermal status 0 before a session.
      pause_secs: wait between sessions where the thermal status cannot be read, and the interval of asking
        for it.
      op_profile: one extra session per cell that says where the time goes (it is not timed itself).
    """

    sessions: int = 3
    runs: int = 50
    min_secs: float = 1.0
    warmup_runs: int = 5
    warmup_secs: float = 0.5
    sustained_minutes: int = 0
    point_secs: float = 60.0
    timeout_secs: float = 300.0
    cooldown_secs: float = 300.0
    pause_secs: float = 2.0
    op_profile: bool = False

    def check(self) -> None:
        """Raises ValueError where a number cannot be measured with."""
        for name in ("sessions", "runs", "timeout_secs", "point_secs"):
            if getattr(self, name) <= 0:
                raise ValueError(f"--{name} must be above 0. Received {getattr(self, name)}.")
        for name in (
            "min_secs",
            "warmup_runs",
            "warmup_secs",
            "sustained_minutes",
            "cooldown_secs",
            "pause_secs",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} must not be negative. Received {getattr(self, name)}.")
        if self.min_secs + self.warmup_secs >= self.timeout_secs:
            raise ValueError(
                f"--timeout_secs={self.timeout_secs:g} leaves no room for {self.warmup_secs:g} s of warm-up "
                f"and {self.min_secs:g} s of runs. Raise it."
            )


def build(
    artifacts: Sequence[Artifact], threads: Sequence[int], delegates: Sequence[str], core_masks: Sequence[str]
) -> list[Cell]:
    """Returns every combination, artifacts outermost. ONNX Runtime has no delegates, so that ONNX gets 'none' only.

    Raises:
      ValueError: a thread count, delegate or mask that does not exist, or an empty list.
    """
    for count in threads:
        if not 1 <= count <= 64:
            raise ValueError(f"--threads must be within 1..64. Received {count}.")
    unknown = [name for name in delegates if name not in DELEGATES]
    if unknown:
        raise ValueError(f"No delegate {', '.join(unknown)}. Known: {', '.join(DELEGATES)}.")
    for mask in core_masks:
        if mask and (not re.fullmatch(r"[0-9a-f]{1,16}", mask) or int(mask, 16) == 0):
            raise ValueError(f"A core mask is 1 to 16 hexadecimal digits, not all 0, as 'f0'. Received {mask!r}.")
    for name, values in (("threads", threads), ("delegates", delegates), ("core_masks", core_masks)):
        if not values or len(set(values)) != len(values):
            raise ValueError(f"--{name} needs at least one value and none twice. Received {list(values)}.")
    return [
        Cell(artifact, count, delegate, mask)
        for artifact in artifacts
        for count, delegate, mask in itertools.product(
            threads, delegates if artifact.format == "tflite" else ("none",), core_masks
        )
    ]


def empty_row(cell: Cell, environment: str) -> dict[str, Any]:
    """Returns the report row of a cell before it is measured; status 'pending' never reaches a report.

    Args:
      cell: what is asked for.
      environment: 'phone', 'emulated' or 'host'.
    """
    artifact = cell.artifact
    return {
        "name": cell.name,
        "environment": environment,
        "artifact": {
            "file": artifact.file,
            "variant": artifact.variant,
            "format": artifact.format,
            "sha256": artifact.sha256,
            "bytes": artifact.bytes,
        },
        "threads": cell.threads,
        "requested_delegate": cell.delegate,
        "core_mask": cell.core_mask or None,
        "actual": None,
        "runtime": None,
        "status": "pending",
        "reason": None,
        "notes": [],
        "latency_ms": None,
        "init_ms": None,
        "first_ms": None,
        "memory_mb": None,
        "accuracy": dict(artifact.accuracy),
        "sessions": [],
        "sustained": [],
        "op_profile": None,
    }


def set_aside(row: dict[str, Any], status: str, reason: str) -> None:
    """Marks a row as without a figure, for good: 'skipped', 'no_delegate', 'failed' or 'not_measured'."""
    row.update(status=status, reason=reason, latency_ms=None, sustained=[])
