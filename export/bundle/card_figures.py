"""The measured figures of a model card: of the network, of its graph and of each artifact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr_edge.evaluation.number_text import interval, number
from dr_edge.markdown import escaped
from export.parity.statistics import (
    RATIO,
    change_name,
    dice_metrics,
    metric_name,
    ratio_error,
    shown_metrics,
    shown_value,
)


def measured(report: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the network's figures on the judged photographs, with its operating points."""
    row = report["keras"]
    names = {
        "auc": "AUC",
        "accuracy": "accuracy",
        "qwk": "quadratic weighted kappa",
        "mean_auc": "mean AUC",
        "mean_f1": "mean F1",
    }
    lines = [f"- {name}: {_value(row, key)}" for key, name in names.items() if row.get(key) is not None]
    lines += [f"- {escaped(metric_name(key))}: {_value(row, key)}" for key in dice_metrics(row)]
    if RATIO in row:
        lines += _ratio(row)
    for name, values in row.get("per_class", {}).items():
        if values.get("recall") is not None and values.get("precision") is not None:
            area = f"AUC {_value(values, 'auc')}, " if values.get("auc_interval") else ""
            lines.append(
                f"- {escaped(name)}: {area}precision {number(values['precision'], 3)}, recall "
                f"{number(values['recall'], 3)}, {values['support']} photographs"
            )
    return lines + _points(report)


def _value(row: Mapping[str, Any], key: str) -> str:
    """Returns "0.912 (95 % interval 0.840 to 0.960)"."""
    bounds = interval(row.get(f"{key}_interval"), 3)
    return number(row[key], 3) + (f" (95 % interval {bounds})" if bounds else "")


def _ratio(row: Mapping[str, Any]) -> list[str]:
    """Returns the line of the vertical cup-to-disc ratio."""
    name = "vertical cup-to-disc ratio (height of the cup / height of the disc)"
    error, bounds = ratio_error(row)
    if error is None:
        return [f"- {name}: no photograph has both labelled"]
    said = _value({"error": error, "error_interval": bounds}, "error")
    return [
        f"- {name}: mean absolute error {said}; found on {100 * row['vcdr_found']:.1f} % of the "
        "photographs with a labelled one, and an error of 1 where it is not"
    ]


def _points(report: Mapping[str, Any]) -> list[str]:
    """Returns the table of sensitivity and specificity at each operating point, of the network and of the graph."""
    rows = list(zip(report["keras"]["operating_points"], report["graph"]["operating_points"], strict=True))
    if not rows:
        return []
    lines = [
        "",
        (
            f"At the operating points, whose thresholds were chosen on other photographs, on {report['split']}. The "
            "deployable graph, which the artifacts follow, normalises the stored JPEG photographs itself:"
        ),
        "",
        (
            "| operating point | threshold | sensitivity | specificity | sensitivity of the graph | specificity of the "
            "graph |"
        ),
        "|---|---|---|---|---|---|",
    ]
    for one, other in rows:
        cells = [_value(row, key) for row in (one, other) for key in ("sensitivity", "specificity")]
        lines.append(f"| {escaped(one['name'])} | {number(one['threshold'], 3)} | {' | '.join(cells)} |")
    return lines


def graph(report: Mapping[str, Any]) -> str:
    """Says how far the deployable graph is from the training pipeline, whose figures stand above."""
    metric = "auc" if "auc" in report["graph"] else next(iter(report["graph"]["drop"]))
    return (
        f"{escaped(metric_name(metric))} {number(report['graph'][metric], 3)} there; a probability differs from the "
        f"training pipeline's by {number(report['graph']['mean_difference'], 3)} on average, since photographs are "
        "stored as JPEG"
    )


def _limit(row: Mapping[str, Any]) -> str:
    """Returns two cells: the artifact's own threshold of the distance, and the share of judged images beyond it."""
    ood = row.get("ood", {})
    if "threshold" not in ood:
        return "– | –"
    return f"{number(ood['threshold'])} | {100 * row['ood_beyond']:.1f} %"


def artifacts(report: Mapping[str, Any]) -> list[str]:
    """Returns the table of the artifacts, and the formats that could not be made."""
    shown = shown_metrics(report["graph"]["drop"])
    measured = "".join(f" {escaped(metric_name(key))} | {escaped(change_name(key))} |" for key in shown)
    lines = [
        f"| file | kB | ms |{measured} agreement | `ood_distance` up to | beyond it |",
        "|---" * (6 + 2 * len(shown)) + "|",
    ]
    for name, row in report["artifacts"].items():
        cells = ""
        for key in shown:
            bounds = interval(row["drop_interval"][key], 4)
            cells += (
                f" {number(shown_value(row, key), 3)} | "
                f"{number(row['drop'][key], 4)}{f' ({bounds})' if bounds else ''} |"
            )
        lines.append(
            f"| {name} | {row['bytes'] / 1e3:.0f} | {row['latency_ms']['median']:.1f} |{cells} "
            f"{100 * row['agreement']:.1f} % | {_limit(row)} |"
        )
    return lines + [f"\n{name} could not be made: {escaped(reason)}." for name, reason in report["not_made"].items()]
