"""Draws a report: latency by artifact, the sustained curve, accuracy against latency against size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from android_bench import stats
from android_bench.bundle import accuracy_metric

_LEAST_SPAN = 0.02  # of the accuracy axis
_ABOVE_ONE = 0.12  # of the axis: half a disc and half a label
# Points above the disc's middle at which a label is tried.
_HEIGHTS = (0, 24, -24, 48, -48, 72, -72, 96, -96, 120, -120)
_WHERE = {"phone": "phone", "emulated": "EMULATED, no phone", "host": "computer, no phone"}


def draw(directory: Path, content: Mapping[str, Any]) -> list[str]:
    """Writes the PNGs that the rows have data for into `directory`; returns their names.

    Args:
      directory: exists.
      content: what bench.json says; at least one row with status 'ok'.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = sorted(
        (row for row in content["rows"] if row["status"] == "ok"),
        key=lambda row: stats.centre(row["latency_ms"])[0],
    )
    where = f"{content['device']['label']} ({_WHERE[rows[0]['environment']]})"
    drawn = ["latency.png"]
    _latency(pyplot, rows, where).savefig(directory / "latency.png", dpi=120)
    if any(row["sustained"] for row in rows):
        _sustained(pyplot, rows, where).savefig(directory / "sustained.png", dpi=120)
        drawn.append("sustained.png")
    metric = accuracy_metric([row["accuracy"] for row in rows if row["accuracy"]])
    if metric:
        data = content["bundle"]["accuracy_data"]
        _choice(pyplot, rows, metric, data, where).savefig(directory / "accuracy_latency_size.png", dpi=120)
        drawn.append("accuracy_latency_size.png")
    pyplot.close("all")
    return drawn


def _latency(pyplot: Any, rows: Sequence[Mapping[str, Any]], where: str) -> Any:
    figure, axes = pyplot.subplots(figsize=(9, 1.8 + 0.42 * len(rows)), layout="constrained")
    values, kinds = zip(*(stats.centre(row["latency_ms"]) for row in rows), strict=True)
    axes.barh(
        range(len(rows)),
        values,
        color="#4477aa",
        height=0.62,
        label="median (mean where the tool prints none)",
    )
    tails = [(place, row["latency_ms"]["p90"]) for place, row in enumerate(rows)]
    with_p90 = [(place, value) for place, value in tails if value is not None]
    if with_p90:
        axes.scatter(
            [v for _, v in with_p90],
            [p for p, _ in with_p90],
            marker="|",
            s=140,
            color="#222222",
            label="p90",
        )
    low_high = [row["latency_ms"]["session_range"] for row in rows]
    axes.hlines(
        range(len(rows)),
        *zip(*low_high, strict=True),
        color="#ee6677",
        linewidth=3,
        label="sessions, low to high",
    )
    ends = [max(value, high, p90 or 0.0) for value, (_, high), (_, p90) in zip(values, low_high, tails, strict=True)]
    for place, (value, end) in enumerate(zip(values, ends, strict=True)):
        axes.annotate(
            f"{kinds[place]} {value:.3g}",
            (end, place),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * max(ends))
    axes.set_xlabel("ms per image")
    axes.set_title(where, fontsize=10)
    figure.legend(fontsize=8, loc="outside lower center", ncols=3)
    return figure


def _sustained(pyplot: Any, rows: Sequence[Mapping[str, Any]], where: str) -> Any:
    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    for row in rows:
        if row["sustained"]:
            minutes = [point["minute"] for point in row["sustained"]]
            values = [stats.centre({"median": None, **point["latency_ms"]})[0] for point in row["sustained"]]
            axes.plot(minutes, values, marker="o", markersize=4, label=row["name"])
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes without a pause")
    axes.set_ylabel("ms per image")
    axes.set_title(f"Sustained load, {where}", fontsize=10)
    axes.legend(fontsize=8)
    return figure


def _choice(pyplot: Any, rows: Sequence[Mapping[str, Any]], metric: str, data: str | None, where: str) -> Any:
    """Draws each artifact once, at its fastest row (`rows` come fastest first)."""
    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    fastest: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if metric in row["accuracy"]:
            fastest.setdefault(row["artifact"]["file"], row)
    known = list(fastest.values())
    largest = max(row["artifact"]["bytes"] for row in known)
    points = [(stats.centre(row["latency_ms"])[0], row["accuracy"][metric]) for row in known]
    sizes = [60 + 900 * row["artifact"]["bytes"] / largest for row in known]
    axes.scatter(*zip(*points, strict=True), s=sizes, alpha=0.45, color="#4477aa")
    axes.scatter(*zip(*points, strict=True), s=8, color="#222222")
    axes.margins(0.25)
    # Room at the right for labels; and two artifacts a thousandth apart must not look worlds apart.
    axes.set_xlim(0, 1.35 * max(x for x, _ in points))
    low, high = axes.get_ylim()
    if high - low < _LEAST_SPAN:
        middle = (low + high) / 2
        low, high = middle - _LEAST_SPAN / 2, middle + _LEAST_SPAN / 2
    # Nothing lies above 1: there the axis ends, but for what a disc needs, and the room is given to the labels below.
    over = max(0.0, high - 1 - _ABOVE_ONE * (high - low))
    low, high = low - over, high - over
    axes.set_ylim(low, high)
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= min(high, 1.0)])
    axes.set_xlabel("ms per image (area of a disc: file size)")
    axes.set_ylabel(f"{metric} ({data})" if data else metric)
    axes.set_title(f"Accuracy against latency against size, {where}", fontsize=10)
    labels = [f"{row['name']}\n{row['artifact']['bytes'] / 1e6:.3g} MB" for row in known]
    _label(figure, axes, points, sizes, labels)
    return figure


def _label(
    figure: Any,
    axes: Any,
    points: Sequence[tuple[float, float]],
    sizes: Sequence[float],
    labels: Sequence[str],
) -> None:
    """Writes a label beside each disc, on the first side where it stays inside and covers no disc or other label."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()
    frame, taken = axes.get_window_extent(), []
    radii = [(size / math.pi) ** 0.5 for size in sizes]  # points; a scatter's size is an area
    for point, radius in zip(points, radii, strict=True):
        x, y = axes.transData.transform(point)
        reach = radius * figure.dpi / 72
        taken.append(Bbox([[x - reach, y - reach], [x + reach, y + reach]]))
    for place, (point, radius, label) in enumerate(zip(points, radii, labels, strict=True)):
        # The faster half is labelled at its left where that is free, so that the lines do not cross.
        order = (-1, 1) if 2 * place < len(points) else (1, -1)
        sides = [((radius + 6) * x, y, "left" if x > 0 else "right") for y in _HEIGHTS for x in order]
        for side in sides:
            x, y, align = side
            note = axes.annotate(
                label, point, (x, y), textcoords="offset points", ha=align, va="center", fontsize=8,
                arrowprops={"arrowstyle": "-", "color": "#999999", "lw": 0.5},
            )  # fmt: skip
            note.update_positions(figure.canvas.get_renderer())
            text = Text.get_window_extent(note).padded(2)
            inside = frame.x0 <= text.x0 and text.x1 <= frame.x1 and frame.y0 <= text.y0 and text.y1 <= frame.y1
            if inside and not any(text.overlaps(other) for other in taken):
                break
            if side != sides[-1]:
                note.remove()
        taken.append(text)
