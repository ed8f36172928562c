"""One session on the phone: cooled down, run, its output read, its raw log kept."""

from __future__ import annotations

import dataclasses
import datetime
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from android_bench.adb import device, phone, workspace
from android_bench.adb.device import Device
from android_bench.errors import CommandFailed, ParseError, ToolError
from android_bench.matrix import Cell, Settings
from android_bench.rows import Progress
from android_bench.tool import delegation, obtain, parse, parse_files, parse_profile


@dataclasses.dataclass(frozen=True)
class Bench:
    """What every session needs: the phone, the directory there, the tool, and where raw logs go."""

    phone: Device
    room: str
    tool: obtain.Tool
    flags: tuple[str, ...]
    runtime: str
    logs: Path
    settings: Settings
    progress: Progress


def run(bench: Bench, cell: Cell, label: str, sustained: bool = False, cooled: bool = True) -> dict[str, Any]:
    """Runs the tool once and returns the session: what it printed, read; the exact command; heat and battery."""
    settings, waited = bench.settings, 0.0
    before = None
    if cooled:
        before, waited = phone.cool_down(
            bench.phone,
            settings.cooldown_secs,
            settings.pause_secs,
            lambda status: bench.progress.note(f"cooling down, thermal status {status}"),
        )
    flags = _flags(bench, cell, sustained)
    command = _command(cell, flags)
    result_file = f"{bench.room}/result.pb"
    device.shell(bench.phone, f"rm -f {shlex.quote(result_file)}", 20)
    limit = settings.timeout_secs + (settings.point_secs if sustained else 0)
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    answer = workspace.run_program(bench.phone, bench.room, command, limit)
    log = _keep(bench, cell, label, command, answer)
    _check(answer, log)
    found = parse.parse_output(bench.tool.kind, answer.stdout, answer.stderr)
    if any(flag.startswith("--result_file_path=") for flag in flags):
        found = _with_result(bench, cell, label, found, result_file)
    # A tool passes over flags that it does not know: only one that lists this flag keeps to it.
    insists = flags if "require_full_delegation" in bench.tool.flags else ()
    battery = phone.state(bench.phone)
    return {
        **found,
        "samples_ms": [],
        "actual": delegation.read(bench.tool.kind, cell.delegate, answer.stdout, answer.stderr, insists),
        "runtime": bench.runtime,
        "command": shlex.join(command).replace(bench.room, "{dir}"),
        "log": log,
        "started": started,
        "thermal_status": before,
        "cooled_down_secs": waited,
        "thermal_after": battery["thermal_status"],
        "battery_temperature_c": battery["battery_temperature_c"],
    }


def profile(bench: Bench, cell: Cell) -> dict[str, Any]:
    """Runs one more session with the operator profile; profiling slows it down, so that its times stay out."""
    asked = obtain.profile_arguments(bench.tool)
    if isinstance(asked, str):
        raise ToolError(asked)
    command = _command(cell, _flags(bench, cell, sustained=False) + asked)
    answer = workspace.run_program(bench.phone, bench.room, command, bench.settings.timeout_secs)
    log = _keep(bench, cell, "profile", command, answer)
    _check(answer, log)
    peak = parse.parse_output(bench.tool.kind, answer.stdout, answer.stderr)["memory_mb"]["peak_process"]
    in_stdout = "Regular Benchmark Runs" in answer.stdout
    found = parse_profile.parse_profile(answer.stdout if in_stdout else answer.stderr)
    return {**found, "peak_memory_mb": peak}


def arguments(bench: Bench, cell: Cell, sustained: bool) -> list[str] | str:
    """Returns the tool's flags for a session of this cell, or why the tool cannot measure it."""
    graph = f"{bench.room}/{cell.artifact.file}"
    result = f"{bench.room}/result.pb"
    return obtain.arguments(bench.tool, cell, bench.settings, graph, bench.flags, result, sustained)


def _flags(bench: Bench, cell: Cell, sustained: bool) -> list[str]:
    flags = arguments(bench, cell, sustained)
    if isinstance(flags, str):
        raise ToolError(flags)
    return flags


def _with_result(bench: Bench, cell: Cell, label: str, found: dict[str, Any], remote: str) -> dict[str, Any]:
    """Adds what only the result protobuf knows; raises ParseError where it and the text disagree."""
    local = bench.logs / f"{cell.name}.{label}.pb"
    device.pull(bench.phone, remote, local)
    result = parse_files.parse_result(local.read_bytes())
    text, exact = found["latency_ms"], result["latency_ms"]
    for name in ("mean", "min", "max"):
        if abs(text[name] - exact[name]) > 0.0051 + 1e-4 * abs(exact[name]):
            raise ParseError(f"{local.name} says {name} {exact[name]:g} ms, the text {text[name]:g} ms. Run it again.")
    if text["runs"] != exact["runs"]:
        raise ParseError(f"{local.name} says {exact['runs']} runs, the text {text['runs']}. Run it again.")
    if text["median"] is None:
        found["latency_ms"] = {**text, **{name: exact[name] for name in ("median", "p5", "p95")}}
    known = {name: value for name, value in found["memory_mb"].items() if value is not None}
    found["memory_mb"] = {**result["memory_mb"], **known}
    return found


def _command(cell: Cell, flags: Sequence[str]) -> list[str]:
    bound = ["taskset", cell.core_mask] if cell.core_mask else []
    return [*bound, "./benchmark_model", *flags]


def _keep(bench: Bench, cell: Cell, label: str, command: Sequence[str], answer: device.Answer) -> str:
    """Writes the raw log and returns its name in the report."""
    path = bench.logs / f"{cell.name}.{label}.log"
    text = (
        f"$ {shlex.join(command)}\n--- stdout\n{answer.stdout}\n--- stderr\n{answer.stderr}\n"
        f"--- status {answer.status}\n"
    )
    path.write_text(text, encoding="utf-8")
    return f"{bench.logs.name}/{path.name}"


def _check(answer: device.Answer, log: str) -> None:
    """Raises CommandFailed where the tool ended with an error."""
    if answer.status:
        killed = " (killed, often for want of memory)" if answer.status == 137 else ""
        raise CommandFailed(f"benchmark_model ended with status {answer.status}{killed}: {_last(answer)} (see {log}).")


def _last(answer: device.Answer) -> str:
    """Returns the tool's own error, or the last thing that it printed."""
    lines = [line.strip() for line in (answer.stdout + "\n" + answer.stderr).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["it printed nothing"])[-1][:300]
