"""Measures a bundle on this computer: LiteRT and ONNX Runtime, one process per artifact and session."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from android_bench import host_worker, matrix, rows
from android_bench.errors import CommandFailed, DeviceTimeout
from android_bench.matrix import Cell, Settings
from android_bench.rows import Progress
from dr_edge import extras


def describe() -> dict[str, Any]:
    """Returns what this computer is: name of the processor, cores that may be used, system, Python, governors, load."""
    return {
        "kind": "host",
        "label": f"{_processor()} ({platform.system()} {platform.machine()})",
        "processor": _processor(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "cores": len(_usable_cores()),
        "python": platform.python_version(),
        "governors": _governors(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def measure(
    cells: Sequence[Cell],
    settings: Settings,
    logs: Path,
    progress: Progress,
    report: list[dict[str, Any]],
) -> None:
    """Measures every cell and appends its row to `report`, in the order of `cells`.

    Args:
      cells: the matrix.
      settings: how long.
      logs: an existing directory for the raw logs.
      progress: moved once per session and sustained minute.
      report: receives the rows before the first session starts, so that an interrupt keeps what was measured.
    """
    measured = [matrix.empty_row(cell, "host") for cell in cells]
    report += measured
    for cell, row in zip(cells, measured, strict=True):
        reason = _impossible(cell)
        if reason:
            matrix.set_aside(row, "skipped", reason)
    for number in range(settings.sessions):
        for cell, row in zip(cells, measured, strict=True):
            if row["status"] == "pending":
                with rows.setting_aside(row):
                    done = _session(cell, settings, logs, f"s{number + 1}", 0, progress)
                    idle = cell.delegate == "xnnpack" and done["actual"]["delegated"] == 0
                    row["sessions"].append(rows.without_figure(done) if idle else done)
                    if idle:
                        reason = rows.no_delegate("XNNPACK", done["actual"]["total"], "none")
                        matrix.set_aside(row, "no_delegate", reason)
                        row["actual"] = done["actual"]
            progress.step(cell.name)
    for cell, row in zip(cells, measured, strict=True):
        if settings.sustained_minutes and row["status"] == "pending":
            with rows.noting(row, "No sustained run"):
                session = _session(cell, settings, logs, "sustained", settings.sustained_minutes, progress)
                row["sustained"] = session["points"]
        elif settings.sustained_minutes:
            for _ in range(settings.sustained_minutes):
                progress.step(cell.name)
    rows.conclude(measured, settings.sessions)


def _impossible(cell: Cell) -> str | None:
    cores = _usable_cores()
    if cell.artifact.format == "onnx" and (said := extras.sentence("ONNX", "An ONNX artifact")):
        return said
    if cell.artifact.format == "onnx" and cell.delegate != "none":
        return "ONNX Runtime has no such delegate; --delegates=none measures its own CPU kernels."
    if cell.delegate not in ("xnnpack", "none"):
        return f"The host target has no {cell.delegate} delegate; measure it on a phone with --target=adb."
    if cell.core_mask and not hasattr(os, "sched_setaffinity"):
        return "This system cannot bind a process to cores."
    wanted = host_worker.mask_cores(cell.core_mask) if cell.core_mask else set()
    if wanted - cores:
        return f"Core mask {cell.core_mask} names cores that this process may not use; it has {sorted(cores)}."
    if cell.threads > len(cores):
        return f"{cell.threads} threads on {len(cores)} usable cores would only measure their waiting."
    return None


def _session(cell: Cell, settings: Settings, logs: Path, label: str, points: int, progress: Progress) -> dict[str, Any]:
    """Runs one worker to its end and returns what it measured, with the command and the raw log's name.

    Its specification stays beside the raw log, so that the command can be given again ({bundle} and {report} stand
    for the two directories).
    """
    spec = {
        "model": cell.artifact.file,
        "format": cell.artifact.format,
        "threads": cell.threads,
        "delegate": cell.delegate,
        "core_mask": cell.core_mask,
        "runs": settings.runs,
        "min_secs": settings.min_secs,
        "warmup_runs": settings.warmup_runs,
        "warmup_secs": settings.warmup_secs,
        "points": points,
        "point_secs": settings.point_secs,
    }
    stem = f"{cell.name}.{label}"
    request, answer, log = (logs / f"{stem}{end}" for end in (".spec.json", ".json", ".log"))
    request.write_text(json.dumps(spec), encoding="utf-8")
    places = [str(path) for path in (request, answer, cell.artifact.path.parent)]
    command = [sys.executable, "-m", "android_bench.host_worker", *places]
    limit = settings.timeout_secs + points * settings.point_secs
    _run(command, log, limit, lambda: progress.step(cell.name))
    result = json.loads(answer.read_text(encoding="utf-8"))
    shown = " ".join(f"{{report}}/{logs.name}/{path.name}" for path in (request, answer))
    result["command"] = f"python -m android_bench.host_worker {shown} {{bundle}}"
    result["log"] = f"{logs.name}/{log.name}"
    return rows.with_summary(result)


def _run(command: Sequence[str], log: Path, limit: float, point: Callable[[], None]) -> None:
    """Runs a worker with output in `log`; calls `point` for each 'point' line; kills it at the limit or on error."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    expired = threading.Event()
    with open(log, "w", encoding="utf-8") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)

        def stop() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(limit, stop)
        timer.start()
        try:
            for line in process.stdout or ():
                if line.startswith("point "):
                    point()
            process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()
    if expired.is_set():
        raise DeviceTimeout(f"The worker was stopped after {limit:g} s. Raise --timeout_secs or lower --runs.")
    if process.returncode:
        output = log.read_text(encoding="utf-8", errors="replace")
        last = output.strip().splitlines()[-1:] or ["no output"]
        raise CommandFailed(f"The worker ended with status {process.returncode}: {last[0]} (see {log.name}).", output)


def _usable_cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _governors() -> list[str] | None:
    """Returns the distinct frequency governors, None where the system does not show them (virtual machines)."""
    found = {path.read_text().strip() for path in Path("/sys/devices/system/cpu").glob("cpu*/cpufreq/scaling_governor")}
    return sorted(found) or None
