"""Measures a bundle on a phone: pushes the official tool and the artifacts, runs the matrix, leaves nothing behind."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from android_bench import matrix, rows
from android_bench.adb import device, phone, session, workspace
from android_bench.adb.device import Device
from android_bench.adb.session import Bench
from android_bench.errors import DeviceTimeout, NoSpace, PushFailed, ToolError
from android_bench.matrix import Cell, Settings
from android_bench.rows import Progress
from android_bench.tool import delegation, obtain
from dr_edge import metadata


@dataclasses.dataclass(frozen=True)
class Request:
    """What to measure with: adb program, serial (None: the only device), tool and its SHA-256, flags and files for it.

    Attributes:
      flags: put behind the tool's own; '{dir}' stands for the directory on the phone.
      files: local files that go beside the tool (a vendor's libraries), found there through LD_LIBRARY_PATH.
    """

    adb: str
    serial: str | None
    tool: str | None
    tool_sha256: str | None
    flags: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def measure(
    request: Request,
    cells: Sequence[Cell],
    settings: Settings,
    logs: Path,
    progress: Progress,
    report: list[dict[str, Any]],
    facts: dict[str, Any],
    extra: dict[str, Any],
) -> None:
    """Measures every cell on the phone.

    Args:
      request: adb, device and tool.
      cells: the matrix.
      settings: how long.
      logs: an existing directory for the raw logs.
      progress: moved once per session and sustained minute.
      report: receives the rows before the first session, so that a lost device keeps what was measured.
      facts: receives what the phone is, and how it is before and after.
      extra: receives the tool's kind, name and SHA-256.

    Raises:
      BenchError: nothing can be measured, or the device was lost (the rows then stand as far as they came).
    """
    missing = [name for name in request.files if not Path(name).is_file()]
    if missing:
        raise ToolError(f"--tool_files: no file {', '.join(missing)}.")
    adb = device.find_adb(request.adb)
    program = obtain.obtain(request.tool, request.tool_sha256)
    connected = device.choose(adb, request.serial)
    facts.update(phone.describe(connected))
    facts["leftovers"] = workspace.leftovers(connected)
    facts["before"] = phone.state(connected)
    with workspace.workspace(connected) as room:
        known = _install(connected, room, program, request.files)
        sha256 = metadata.sha256_file(program)
        extra["tool"] = {
            "kind": known.kind,
            "file": program.name,
            "sha256": sha256,
            "flags": list(request.flags),
        }
        flags = tuple(flag.replace("{dir}", room) for flag in request.flags)
        runtime = f"benchmark_model ({known.kind}, {sha256[:12]})"
        bench = Bench(connected, room, known, flags, runtime, logs, settings, progress)
        measured = [matrix.empty_row(cell, facts["kind"]) for cell in cells]
        report += measured
        pairs = list(zip(cells, measured, strict=True))
        _refuse(bench, pairs)
        _push_artifacts(bench, pairs)
        for number in range(settings.sessions):
            for cell, row in pairs:
                if row["status"] == "pending":
                    with rows.setting_aside(row):
                        _one_session(bench, cell, row, f"s{number + 1}")
                progress.step(cell.name)
        for cell, row in pairs:
            _more(bench, cell, row)
        facts["after"] = phone.state(connected)
    rows.conclude(measured, settings.sessions)


def _install(connected: Device, room: str, program: Path, files: Sequence[str]) -> obtain.Tool:
    """Puts the tool and its libraries on the phone and asks it what it is."""
    device.push(connected, program, f"{room}/benchmark_model")
    for name in files:
        device.push(connected, Path(name), f"{room}/{Path(name).name}")
    device.shell(connected, f"chmod 755 {shlex.quote(room)}/*", 20)
    answer = workspace.run_program(connected, room, ["./benchmark_model", "--help"], 60)
    if answer.status in (126, 127):
        said = (answer.stderr or answer.stdout).strip()[-200:]
        raise ToolError(
            f"{program.name} does not run on this phone: {said}. Get the build for its ABI (adb shell getprop "
            "ro.product.cpu.abi), and name the libraries that it needs with --tool_files."
        )
    return obtain.identify(answer.stdout + answer.stderr)


def _refuse(bench: Bench, pairs: Sequence[tuple[Cell, dict[str, Any]]]) -> None:
    """Sets aside what the tool cannot measure, before anything runs."""
    for cell, row in pairs:
        if cell.artifact.format != "tflite":
            matrix.set_aside(row, "skipped", "benchmark_model runs .tflite only; --target=host measures ONNX.")
            continue
        flags = session.arguments(bench, cell, sustained=False)
        if isinstance(flags, str):
            matrix.set_aside(row, "skipped", flags)


def _push_artifacts(bench: Bench, pairs: Sequence[tuple[Cell, dict[str, Any]]]) -> None:
    """Copies each artifact once; one that does not arrive sets its own rows aside."""
    arrived: dict[str, str | None] = {}
    for cell, row in pairs:
        if row["status"] != "pending":
            continue
        name = cell.artifact.file
        if name not in arrived:
            bench.progress.note(f"copying {name}")
            try:
                device.push(bench.phone, cell.artifact.path, f"{bench.room}/{name}")
                arrived[name] = None
            except (DeviceTimeout, NoSpace, PushFailed) as err:
                device.shell(bench.phone, f"rm -f {shlex.quote(f'{bench.room}/{name}')}", 20)
                arrived[name] = str(err)
        trouble = arrived[name]
        if trouble:
            matrix.set_aside(row, "failed", trouble)


def _one_session(bench: Bench, cell: Cell, row: dict[str, Any], label: str) -> None:
    """Cools down, runs one session and appends it to the row; a delegate that took nothing sets the row aside."""
    done = session.run(bench, cell, label)
    reason = delegation.missing(cell.delegate, done["actual"])
    row["sessions"].append(rows.without_figure(done) if reason else done)
    if reason:
        matrix.set_aside(row, "no_delegate", reason)
        row["actual"] = done["actual"]
    elif done["thermal_status"]:
        row["notes"].append(f"Session {label} began at thermal status {done['thermal_status']}: it may be slowed.")


def _more(bench: Bench, cell: Cell, row: dict[str, Any]) -> None:
    """Runs the sustained minutes and the operator profile of a row that has a figure."""
    settings, alive = bench.settings, row["status"] == "pending"
    for minute in range(settings.sustained_minutes):
        if alive:
            with rows.noting(row, f"The sustained run ended in minute {minute + 1}"):
                point = session.run(bench, cell, f"sustained{minute + 1}", sustained=True, cooled=minute == 0)
                reason = delegation.missing(cell.delegate, point["actual"])
                if reason:
                    raise ToolError(reason)  # the curve would go on with the CPU's figures
                row["sustained"].append(_point(point, (minute + 1) * settings.point_secs / 60))
            alive = len(row["sustained"]) == minute + 1
        bench.progress.step(cell.name)
    if settings.op_profile:
        if row["status"] == "pending":
            with rows.noting(row, "No operator profile"):
                row["op_profile"] = session.profile(bench, cell)
        bench.progress.step(cell.name)


def _point(done: dict[str, Any], minute: float) -> dict[str, Any]:
    """Returns the point of a sustained curve; the minute is the one at its end."""
    named = ("median", "p90", "p95", "mean", "min", "max", "runs")
    return {
        "minute": minute,
        "latency_ms": {name: done["latency_ms"][name] for name in named},
        "thermal_status": done["thermal_after"],
        "battery_temperature_c": done["battery_temperature_c"],
    }
