"""Compares two reports row by row: what became faster, slower, or stayed within the spread of its own sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from android_bench import stats
from dr_edge import metadata

_SAME_DEVICE = ("label", "build_fingerprint", "processor", "machine")


def main(arguments: Sequence[str]) -> str:
    """Returns the comparison of two report directories as Markdown.

    Raises:
      ValueError: not two arguments, one is no report, or they share no row.
    """
    if len(arguments) != 2:
        raise ValueError(f"compare takes two report directories. Received: {' '.join(arguments) or 'none'}.")
    first, second = (metadata.read_manifest(path, "bench") for path in arguments)
    return "\n".join(compare(first, second, *arguments)) + "\n"


def compare(first: Mapping[str, Any], second: Mapping[str, Any], name_a: str, name_b: str) -> list[str]:
    """Returns the lines of the comparison of report A with report B.

    A ratio is B's figure over A's. Sessions that overlap in both reports make the change one that their own
    spread explains. A host or emulated row is never set against a phone's.

    Raises:
      ValueError: the reports have no row in common.
    """
    rows_a, rows_b = _by_key(first["rows"]), _by_key(second["rows"])
    shared = [key for key in rows_a if key in rows_b]
    if not shared:
        raise ValueError(f"{name_a} and {name_b} have no row in common (artifact, threads, delegate, core mask).")
    lines = [f"# {name_a} (A) against {name_b} (B)", ""]
    lines += [f"- A: {_where(first)}", f"- B: {_where(second)}"]
    changed = _device_change(first["device"], second["device"])
    if changed:
        lines += ["", f"**Different devices ({changed}): the ratio says more of them than of the models.**"]
    lines += ["", "| row | A ms | B ms | B / A | verdict |", "| --- | --- | --- | --- | --- |"]
    lines += [_line(rows_a[key], rows_b[key]) for key in shared]
    for name, ours, others in (("A", rows_a, rows_b), ("B", rows_b, rows_a)):
        alone = [row["name"] for key, row in ours.items() if key not in others]
        if alone:
            lines += ["", f"Only in {name}: {', '.join(alone)}."]
    return lines


def verdict(latency_a: Mapping[str, Any], latency_b: Mapping[str, Any]) -> str:
    """Returns 'faster', 'slower' or why neither can be said of B, from the spread of the sessions of both."""
    if min(latency_a["sessions"], latency_b["sessions"]) < 2:
        return "one session only: no spread to judge by"
    low_a, high_a = latency_a["session_range"]
    low_b, high_b = latency_b["session_range"]
    if low_b > high_a:
        return "slower"
    if high_b < low_a:
        return "faster"
    return "within the spread of the sessions"


def _by_key(rows: Sequence[Mapping[str, Any]]) -> dict[tuple, Mapping[str, Any]]:
    return {
        (
            r["artifact"]["variant"],
            r["artifact"]["format"],
            r["threads"],
            r["requested_delegate"],
            r["core_mask"],
        ): r
        for r in rows
    }


def _line(row_a: Mapping[str, Any], row_b: Mapping[str, Any]) -> str:
    figures = [_figure(row) for row in (row_a, row_b)]
    ratio, said = "", "no figure to compare"
    if row_a["environment"] != row_b["environment"]:
        said = f"not comparable: {row_a['environment']} and {row_b['environment']}"
    elif row_a["status"] == row_b["status"] == "ok":
        (value_a, kind_a), (value_b, kind_b) = (stats.centre(row["latency_ms"]) for row in (row_a, row_b))
        if kind_a != kind_b:
            said = f"not comparable: {kind_a} and {kind_b}"
        else:
            ratio, said = f"{value_b / value_a:.3f}", verdict(row_a["latency_ms"], row_b["latency_ms"])
            said += "; other bytes" * (row_a["artifact"]["sha256"] != row_b["artifact"]["sha256"])
            said += "; other accelerator" * (row_a["actual"]["accelerator"] != row_b["actual"]["accelerator"])
            said += "; other runtime" * (row_a["runtime"] != row_b["runtime"])
    return f"| {row_a['name']} | {figures[0]} | {figures[1]} | {ratio} | {said} |"


def _figure(row: Mapping[str, Any]) -> str:
    if row["status"] != "ok":
        return row["status"].replace("_", " ")
    value, kind = stats.centre(row["latency_ms"])
    low, high = row["latency_ms"]["session_range"]
    return f"{value:.2f}{' (mean)' * (kind == 'mean')} [{low:.2f}, {high:.2f}]"


def _where(report: Mapping[str, Any]) -> str:
    environment = report["rows"][0]["environment"]
    device = report["device"]
    start = device.get("before") or {}
    known = {
        "load average": (device.get("load_average") or [None])[0],
        "thermal status": start.get("thermal_status"),
        "battery °C": start.get("battery_temperature_c"),
    }
    began = "".join(f", {name} {value:g}" for name, value in known.items() if value is not None)
    return f"{report['bundle']['name']} on {device['label']} ({environment}), {report['started']}{began}"


def _device_change(device_a: Mapping[str, Any], device_b: Mapping[str, Any]) -> str:
    return ", ".join(key.replace("_", " ") for key in _SAME_DEVICE if device_a.get(key) != device_b.get(key))
