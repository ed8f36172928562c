"""Writes a report directory: bench.json (the whole of it), bench.csv, bench.md, plots, raw logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from android_bench import stats
from android_bench.bundle import accuracy_metric
from dr_edge import extras, metadata, spreadsheet
from dr_edge.markdown import escaped

ENVIRONMENTS = {
    "phone": "Measured on a phone.",
    "emulated": "Measured on an emulated device: these are no phone's figures and rank with no phone's.",
    "host": (
        "Measured on the computer itself: these are no phone's figures, say nothing of one, and rank with no phone's."
    ),
}
COLUMNS = [
    "name",
    "environment",
    "file",
    "variant",
    "format",
    "bytes",
    "sha256",
    "threads",
    "requested_delegate",
    "core_mask",
    "status",
    "reason",
    "accelerator",
    "delegated_nodes",
    "total_nodes",
    "partitions",
    "median_ms",
    "p90_ms",
    "p95_ms",
    "mean_ms",
    "min_ms",
    "max_ms",
    "runs",
    "sessions",
    "session_low_ms",
    "session_high_ms",
    "init_ms",
    "first_ms",
    "memory_init_mb",
    "memory_overall_mb",
    "memory_peak_mb",
]


def write(directory: Path, content: Mapping[str, Any]) -> None:
    """Writes every file of a report into `directory`, bench.json last.

    Args:
      directory: exists, and holds logs/.
      content: what bench.json says: bundle, target, device, rows and the rest (see __main__.py).

    Raises:
      ValueError: a row is unfinished, or a row without status 'ok' holds a latency.
    """
    check(content["rows"])
    metadata.write_text(directory / "bench.csv", to_csv(content["rows"]))
    drawn = []
    if any(row["status"] == "ok" for row in content["rows"]) and not extras.missing("plots"):
        from android_bench import plots

        drawn = plots.draw(directory, content)
    metadata.write_text(directory / "bench.md", to_markdown(content, drawn))
    metadata.write_manifest(directory, "bench", content)


def check(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises ValueError where rows contradict themselves: a figure without a measurement must never be written."""
    for row in rows:
        if row["status"] == "pending" or (row["status"] != "ok" and not row["reason"]):
            raise ValueError(f"Row {row['name']} is unfinished (status {row['status']!r}, reason {row['reason']!r}).")
        if (row["status"] == "ok") != (row["latency_ms"] is not None):
            raise ValueError(f"Row {row['name']} has status {row['status']!r} and latency {row['latency_ms']!r}.")


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns one line per row under COLUMNS; times in milliseconds, memory in MB, unknown cells empty."""
    table: list[list[object]] = []
    for row in rows:
        actual, latency, memory = row["actual"] or {}, row["latency_ms"] or {}, row["memory_mb"] or {}
        low, high = latency.get("session_range", (None, None))
        cells = {
            **{name: row[name] for name in ("name", "environment", "threads", "requested_delegate", "core_mask")},
            **{name: row["artifact"][name] for name in ("file", "variant", "format", "bytes", "sha256")},
            **{name: row[name] for name in ("status", "reason", "init_ms", "first_ms")},
            **{f"{name}_ms": latency.get(name) for name in ("median", "p90", "p95", "mean", "min", "max")},
            **{name: latency.get(name) for name in ("runs", "sessions")},
            **{f"memory_{name}_mb": memory.get(key) for name, key in _MEMORY.items()},
            "accelerator": actual.get("accelerator"),
            "delegated_nodes": actual.get("delegated"),
            "total_nodes": actual.get("total"),
            "partitions": actual.get("partitions"),
            "session_low_ms": low,
            "session_high_ms": high,
        }
        table.append([cells[name] for name in COLUMNS])
    return spreadsheet.to_csv(COLUMNS, table)


_MEMORY = {"init": "init", "overall": "overall", "peak": "peak_process"}


def to_markdown(content: Mapping[str, Any], drawn: Sequence[str]) -> str:
    """Returns the report as one reads it: the fastest first, then what gave no figure and why."""
    rows, device = content["rows"], content["device"]
    measured = sorted((r for r in rows if r["status"] == "ok"), key=lambda r: stats.centre(r["latency_ms"])[0])
    environment = rows[0]["environment"]
    lines = [
        f"# Latency of {escaped(content['bundle']['name'])} on {escaped(device['label'])}",
        "",
        f"**{ENVIRONMENTS[environment]}**",
        "",
        (
            f"Started {content['started']}, ended {content['finished']}. Input {content['bundle']['image_size']} px. "
            f"Up to {content['settings']['sessions']} sessions of at least {content['settings']['runs']} runs each."
        ),
    ]
    if content["incomplete"]:
        lines += ["", f"**Incomplete: {escaped(content['incomplete'])}**"]
    lines += ["", "## Device", "", *_device_lines(device)]
    lines += ["", "## Latency", ""]
    lines += _latency_table(measured, rows) if measured else ["No artifact gave a figure; see below."]
    if measured and (said := extras.sentence("plots", "Drawing them")):
        lines += ["", f"No plots were drawn. {said}"]
    lines += [line for name in drawn for line in ("", f"![{name}]({name})")]
    for row in measured:
        if row["sustained"]:
            lines += ["", f"## Sustained: {escaped(row['name'])}", "", *_sustained_table(row["sustained"])]
    for row in measured:
        if row["op_profile"]:
            lines += ["", f"## Where the time goes: {escaped(row['name'])}", "", *_profile_table(row["op_profile"])]
    aside = [row for row in rows if row["status"] != "ok"]
    if aside:
        lines += [
            "",
            "## Without a figure",
            "",
            *_table(["row", "status", "why"], [_aside(row) for row in aside]),
        ]
    noted = [f"- {escaped(row['name'])}: {escaped(note)}" for row in rows for note in row["notes"]]
    if noted:
        lines += ["", "## Notes", "", *noted]
    lines += ["", "Raw logs and every sample: `logs/`. Exact commands: `bench.json`.", ""]
    return "\n".join(lines)


def _device_lines(device: Mapping[str, Any]) -> list[str]:
    shown = {key: value for key, value in device.items() if key != "label" and not isinstance(value, dict)}
    lines = [f"- {key.replace('_', ' ')}: {escaped(_plain(value))}" for key, value in shown.items()]
    for key in ("before", "after"):
        if isinstance(device.get(key), dict):
            facts = ", ".join(
                f"{name.replace('_', ' ')} {escaped(_plain(value))}" for name, value in device[key].items()
            )
            lines.append(f"- {key}: {facts}")
    return lines


def _latency_table(measured: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    metric = accuracy_metric([row["accuracy"] for row in rows if row["accuracy"]])
    head = [
        "artifact",
        "MB",
        "threads",
        "asked",
        "ran on",
        "nodes",
        "median ms",
        "p90 ms",
        "sessions",
        "memory MB",
    ]
    body = []
    for row in measured:
        latency, actual = row["latency_ms"], row["actual"]
        value, kind = stats.centre(latency)
        nodes = "?" if actual["delegated"] is None else f"{actual['delegated']}/{_plain(actual['total'])}"
        low, high = latency["session_range"]
        cores = f", mask {row['core_mask']}" if row["core_mask"] else ""
        cells = [
            f"{row['artifact']['variant']}.{row['artifact']['format']}",
            f"{row['artifact']['bytes'] / 1e6:.2f}",
            f"{row['threads']}{cores}",
            row["requested_delegate"],
            actual["accelerator"],
            nodes,
            _ms(value) + (" (mean)" if kind == "mean" else ""),
            _tail(latency),
            f"{latency['sessions']} ({_ms(low)} to {_ms(high)})",
            _memory(row["memory_mb"]),
        ]
        body.append(cells + ([_accuracy(row["accuracy"], metric)] if metric else []))
    return _table(head + ([metric] if metric else []), body)


def _sustained_table(points: Sequence[Mapping[str, Any]]) -> list[str]:
    body = []
    for point in points:
        value, kind = stats.centre({"median": None, **point["latency_ms"]})
        thermal = point.get("thermal_status")
        warmth = _plain(point.get("battery_temperature_c"))
        runs = str(point["latency_ms"]["runs"])
        body.append([f"{point['minute']:g}", _ms(value), kind, runs, _plain(thermal), warmth])
    return _table(["minute", "ms", "which", "runs", "thermal status", "battery °C"], body)


def _profile_table(profile: Mapping[str, Any]) -> list[str]:
    body = [[op["type"], str(op["count"]), _ms(op["ms"]), f"{op['percent']:.1f}"] for op in profile["by_type"][:12]]
    return _table(["operator", "nodes", "ms", "%"], body)


def _aside(row: Mapping[str, Any]) -> list[str]:
    return [
        row["name"],
        row["status"].replace("_", " "),
        row["reason"],
    ]


def _accuracy(accuracy: Mapping[str, float], metric: str) -> str:
    return f"{accuracy[metric]:.4f}" if metric in accuracy else "unknown"


def _memory(memory: Mapping[str, float | None]) -> str:
    """Shows the growth from the tool's start to its end, and the highest of the whole process."""
    grown, peak = memory.get("overall"), memory.get("peak_process")
    shown = [] if grown is None else [f"{grown:+.1f}"]
    shown += [] if peak is None else [f"peak {peak:.0f}"]
    return ", ".join(shown) or "?"


def _tail(latency: Mapping[str, Any]) -> str:
    """Shows the 90th percentile; where the tool prints only the 95th, that one, named."""
    if latency["p90"] is not None:
        return _ms(latency["p90"])
    return "not printed" if latency["p95"] is None else f"p95 {_ms(latency['p95'])}"


def _ms(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _plain(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(item) for item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    first, *rows = [[escaped(cell) for cell in row] for row in (head, *body)]
    return [f"| {' | '.join(cells)} |" for cells in (first, ["---"] * len(head), *rows)]
