"""metrics.jsonl: a row per split and epoch, one JSON object a line, in the order of the steps."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from absl import logging

from dr_edge import metadata

FILE, DAMAGED_FILE = "metrics.jsonl", "metrics.damaged.jsonl"


class MetricsLog:
    """The log of a run that is being trained."""

    def __init__(self, run_dir: str | Path, epochs: int) -> None:
        """Opens the log and drops the rows after the finished `epochs`, which a resumed run writes again.

        Epochs, not steps: a run that was stopped between the last step of an epoch and its validation writes both rows
        again. Lines that are no rows are moved to metrics.damaged.jsonl, and that is said.
        """
        self._path = Path(run_dir) / FILE
        rows, damaged = _read(self._path) if self._path.is_file() else ([], [])
        if damaged:
            aside = self._path.with_name(DAMAGED_FILE)
            before = aside.read_bytes() if aside.is_file() else b""
            metadata.write_bytes(aside, before + b"".join(line + b"\n" for line in damaged))
            logging.warning("%s: %d lines are damaged. They are set aside in %s.", self._path, len(damaged), aside.name)
        kept = [row for row in rows if row["epoch"] <= epochs]
        metadata.write_text(self._path, "".join(json.dumps(row) + "\n" for row in kept))

    def append(self, row: dict[str, Any]) -> None:
        """Adds a row; it needs an "epoch". The checkpoint that comes after it does not get to the disk before it."""
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def read_metrics(run_dir: str | Path) -> list[dict[str, Any]]:
    """Returns the rows of metrics.jsonl; lines that are damaged are left out, and that is said."""
    path = Path(run_dir) / FILE
    rows, damaged = _read(path)
    if damaged:
        logging.warning("%s: %d lines are damaged and left out.", path, len(damaged))
    return rows


def _read(path: Path) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Returns the rows, and the lines that are none.

    A last line without its end is neither: the process that wrote it was killed, and the resumed one writes it again.
    """
    rows, damaged = [], []
    *lines, last = path.read_bytes().split(b"\n")
    for line in lines:
        row = _row(line)
        if row is not None:
            rows.append(row)
        elif line.strip():
            damaged.append(line)
    if (row := _row(last)) is not None:
        rows.append(row)
    return rows, damaged


def _row(line: bytes) -> dict[str, Any] | None:
    """Returns a line as a row, or None where it is none."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("epoch"), int) else None
