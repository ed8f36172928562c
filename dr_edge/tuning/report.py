"""What a search has found so far: trials.csv and a plot."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from dr_edge import metadata, spreadsheet
from dr_edge.tuning import space
from dr_edge.tuning.study import REASON

CSV_FILE, PLOT_FILE = "trials.csv", "trials.png"
STATES = {
    TrialState.COMPLETE: "finished", TrialState.FAIL: "failed", TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting", TrialState.PRUNED: "drawn twice",
}  # fmt: skip


def table(trials: Sequence[FrozenTrial], dimensions: Sequence[space.Dimension]) -> list[dict[str, Any]]:
    """Returns one row per trial, in their order.

    Returns:
      Dicts of "trial", "state", "value", "metric", "epoch", "seconds", each dimension's value, "run_dir", "reason".
    """
    rows = []
    for trial in trials:
        row: dict[str, Any] = {"trial": trial.number, "state": STATES[trial.state]}
        row["value"] = trial.value if trial.state == TrialState.COMPLETE else None
        row |= {key: trial.user_attrs.get(key) for key in ("metric", "epoch", "seconds")}
        row |= {dimension.name: trial.params.get(dimension.name) for dimension in dimensions}
        complete = all(dimension.name in trial.params for dimension in dimensions)
        row["run_dir"] = f"trials/{space.trial_name(trial.params, dimensions)}" if complete else None
        row["reason"] = trial.user_attrs.get(REASON)
        rows.append(row)
    return rows


def write(
    directory: Path, rows: Sequence[dict[str, Any]], dimensions: Sequence[space.Dimension], maximize: bool
) -> None:
    """Writes trials.csv and, once a trial has finished, trials.png into `directory`, each whole."""
    table_text = spreadsheet.to_csv(list(rows[0]), [list(row.values()) for row in rows]) if rows else ""
    metadata.write_text(directory / CSV_FILE, table_text)
    finished = [row for row in rows if row["state"] == "finished"]
    if finished:
        metadata.write_bytes(directory / PLOT_FILE, plot(finished, dimensions, maximize))


def best(rows: Sequence[dict[str, Any]], maximize: bool) -> dict[str, Any] | None:
    """Returns the row of the best finished trial, the first of equals; None where none has finished."""
    finished = [row for row in rows if row["state"] == "finished"]
    choose = max if maximize else min
    return choose(finished, key=lambda row: row["value"]) if finished else None


def plot(rows: Sequence[dict[str, Any]], dimensions: Sequence[space.Dimension], maximize: bool) -> bytes:
    """Draws each finished trial's value over each dimension, the best one marked.

    Returns:
      PNG bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(dimensions), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    top = best(rows, maximize)
    for index, dimension in enumerate(dimensions):
        axes = figure.add_subplot(1, len(dimensions), index + 1)
        numbers = [_number(row[dimension.name]) for row in rows]
        if all(number is not None for number in numbers):
            places = [float(number) for number in numbers if number is not None]
            if min(places) > 0 and max(places) / min(places) >= 20:
                axes.set_xscale("log")
        else:
            names = list(dict.fromkeys(str(row[dimension.name]) for row in rows))
            places = [float(names.index(str(row[dimension.name]))) for row in rows]
            axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
        axes.scatter(places, [row["value"] for row in rows], color="#2a6f97", s=28)
        if top is not None:
            axes.scatter(
                [places[list(rows).index(top)]],
                [top["value"]],
                facecolors="none",
                edgecolors="#c1121f",
                s=130,
                linewidths=2,
            )
        axes.set_xlabel(dimension.name, fontsize=8)
        axes.grid(alpha=0.3)
        if index == 0:
            axes.set_ylabel(f"best validation {rows[0]['metric']}")
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return data.getvalue()


def _number(value: Any) -> float | None:
    """Returns a number, or a choice's gin text as a number; None where it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
