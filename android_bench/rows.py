"""Fills report rows: sums up sessions, sets aside what gave no figure, and says so."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from android_bench import matrix, stats
from android_bench.errors import AdbMissing, BenchError, DeviceLost, DeviceOffline, NoDevice, Unauthorised

# With these the device, or the way to it, is gone: no later cell can be measured either.
FATAL = (AdbMissing, DeviceLost, DeviceOffline, NoDevice, Unauthorised)


@dataclasses.dataclass(frozen=True)
class Progress:
    """How the measuring tells where it is: `step` after each session (with the row's name), `note` in between."""

    step: Callable[[str], None]
    note: Callable[[str], None]


@contextlib.contextmanager
def setting_aside(row: dict[str, Any]) -> Iterator[None]:
    """Turns a failed session into the row's reason and lets the other rows go on. A lost device is raised."""
    try:
        yield
    except FATAL:
        raise
    except BenchError as err:
        matrix.set_aside(row, "failed", str(err))


@contextlib.contextmanager
def noting(row: dict[str, Any], what: str) -> Iterator[None]:
    """Turns the failure of something that the row's figure does not need into a note. A lost device is raised."""
    try:
        yield
    except FATAL:
        raise
    except BenchError as err:
        row["notes"].append(f"{what}: {err}")


def with_summary(session: dict[str, Any]) -> dict[str, Any]:
    """Adds `latency_ms` to a session that has raw samples (one without, as a sustained one, stays as it is)."""
    if session["samples_ms"]:
        session["latency_ms"] = stats.summarise(session["samples_ms"])
    return session


def no_delegate(name: str, total: int | None, instead: str) -> str:
    """Returns the reason of a row whose delegate took nothing."""
    nodes = "no node" if total is None else f"0 of {total} nodes"
    return f"{name} took {nodes}. No latency is given. Use --delegates={instead} or another artifact."


def without_figure(session: dict[str, Any]) -> dict[str, Any]:
    """Returns a session that ran on something else than asked for without its figures: they would be the CPU's."""
    emptied = dict.fromkeys(("latency_ms", "init_ms", "first_ms", "memory_mb"))
    return {**session, **emptied, "samples_ms": []}


def conclude(rows: Sequence[dict[str, Any]], wanted: int, unmeasured: str | None = None) -> None:
    """Sums up the sessions of every row that is still pending.

    Args:
      rows: changed in place; afterwards none is 'pending'.
      wanted: sessions per row that were asked for.
      unmeasured: why rows without a session have none (a lost device, an interrupt); None where that cannot
        be.
    """
    for row in rows:
        if row["status"] != "pending":
            continue
        sessions = [session for session in row["sessions"] if session.get("latency_ms")]
        if not sessions:
            matrix.set_aside(row, "not_measured", unmeasured or "No session ended with a figure.")
            continue
        row["status"] = "ok"
        row["latency_ms"] = stats.over_sessions(sessions)
        row["runtime"] = sessions[-1]["runtime"]
        row["actual"] = sessions[-1]["actual"]
        for name in ("init_ms", "first_ms"):
            known = [session[name] for session in sessions if session[name] is not None]
            row[name] = stats.quantile(known, 0.5) if known else None
        row["memory_mb"] = {
            key: max((s["memory_mb"][key] for s in sessions if s["memory_mb"].get(key) is not None), default=None)
            for key in ("init", "overall", "peak_process")
        }
        if len(sessions) < wanted:
            row["notes"].append(f"Only {len(sessions)} of {wanted} sessions. {unmeasured or ''}".rstrip())
        if any(session["actual"] != row["actual"] for session in sessions):
            row["notes"].append("The delegated nodes differ between the sessions; see the raw logs.")
