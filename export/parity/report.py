"""parity.html: the sheet that shows, without statistics, whether each artifact is still the trained model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from dr_edge.drawing import svg_charts, svg_forest
from dr_edge.evaluation.gallery import data_url
from dr_edge.evaluation.report import environment
from dr_edge.runs import TrainedRun
from export.parity import statistics
from export.parity.measure import Reference

TEMPLATE = "parity.html.j2"
MOST_POINTS = 500
MOST_PICTURES = 12
WORST_LAYERS = 15


def render(
    run: TrainedRun,
    report: Mapping[str, Any],
    ref: Reference,
    outputs: Mapping[str, Mapping[str, np.ndarray]],
    with_photographs: bool,
) -> str:
    """Returns the page as HTML that refers to nothing outside itself.

    Args:
      run: what was exported.
      report: the content of parity.json.
      ref: the test photographs and what Keras says of them.
      outputs: file -> output name -> [N, ...].
      with_photographs: show those on which an artifact answers otherwise.
    """
    env = environment(Path(__file__).parent)
    shown = statistics.shown_metrics(report["graph"]["drop"])
    return env.get_template(TEMPLATE).render(
        run=run,
        task=run.task,
        report=report,
        metrics=[
            {"key": key, "name": statistics.metric_name(key), "change": statistics.change_name(key)} for key in shown
        ],
        value=statistics.shown_value,
        drops=[chart for chart in (_drops(report, key) for key in shown) if chart is not None],
        scatters=_scatters(run, ref, outputs),
        layers=_layers(report),
        changed=_changed(run, ref, outputs) if with_photographs else [],
        changed_total=len({image for row in report["artifacts"].values() for image in row.get("changed", ())}),
        with_photographs=with_photographs,
        series=svg_charts.SERIES,
    )


def _drops(report: Mapping[str, Any], metric: str) -> dict[str, Any] | None:
    """Returns {"name", "svg", "limit"}: what each conversion costs of one metric; None where that is undefined."""
    rows = [
        (name.removeprefix("model."), row["drop"][metric], row["drop_interval"][metric])
        for name, row in report["artifacts"].items()
        if row["drop"][metric] is not None
    ]
    kind = {"auc": "auc_drop", statistics.RATIO: None}.get(metric, "dice_drop")  # the ratio has no limit of its own
    limits = [] if kind is None else report["limits"][kind].values()
    # A limit that nothing reaches would squeeze the chart.
    limit = min(limits) if limits and max(limits) < 0.2 else None
    name = statistics.metric_name(metric)
    axis = f"{name}: {statistics.change_name(metric)}"
    return {"name": name, "svg": svg_forest.forest(rows, axis, limit), "limit": limit} if rows else None


def _scatters(run: TrainedRun, ref: Reference, outputs: Mapping[str, Mapping[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Returns one chart per artifact: its probability against Keras', of the disease or of Keras' answer."""
    if run.task.kind == "segmentation":
        return []
    base = ref.outputs["probabilities"]
    answer, name = base.argmax(axis=1), run.task.positive_name or "Keras' answer"

    def scores(probabilities: np.ndarray) -> np.ndarray:
        if run.task.positive:
            return run.task.positive_probability(probabilities)
        return np.take_along_axis(probabilities, answer[:, None], axis=1)[:, 0]

    shown = np.random.default_rng(0).permutation(len(base))[:MOST_POINTS]
    made = []
    for file, values in outputs.items():
        x, y = scores(base)[shown], scores(values["probabilities"])[shown]
        axes = (f"Keras: probability of {name}", "artifact")
        made.append({"file": file, "svg": svg_charts.scatter(x, y, axes, None, (0.0, 1.0, 0.0, 1.0))})
    return made


def _layers(report: Mapping[str, Any]) -> Markup | None:
    """Returns the chart of the layers that lose most to 8 bits; None where none was measured."""
    rows = report["layer_errors"][:WORST_LAYERS]
    if not rows:
        return None
    return svg_forest.bars(
        [(row["layer"] or row["operation"], max(row["snr_db"], 0.0)) for row in rows], "signal-to-noise ratio, dB"
    )


def _changed(run: TrainedRun, ref: Reference, outputs: Mapping[str, Mapping[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Returns the photographs on which an artifact answers otherwise than Keras, those of most artifacts first."""
    if run.task.kind != "classification":
        return []
    names, base = run.task.class_names, ref.outputs["probabilities"]
    answer = base.argmax(axis=1)
    others = {file: values["probabilities"] for file, values in outputs.items()}
    differs = np.stack([values.argmax(axis=1) != answer for values in others.values()])  # [artifacts, N]
    order = [row for row in np.argsort(-differs.sum(axis=0), kind="stable") if differs[:, row].any()]
    cards = []
    photographs = ref.photographs.at(order[:MOST_PICTURES])
    for row in order[:MOST_PICTURES]:
        who = [
            f"{file.removeprefix('model.')}: {names[values[row].argmax()]} {values[row].max():.2f}"
            for file, values in others.items()
            if values[row].argmax() != answer[row]
        ]
        cards.append(
            {
                "photograph": data_url(photographs[row][0]),
                "id": str(ref.ids[row]),
                "keras": f"{names[answer[row]]} {base[row].max():.2f}",
                "label": names[ref.labels[row]],
                "artifacts": who,
            }
        )
    return cards
