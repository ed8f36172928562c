"""The report: one self-contained HTML page, readable on a phone, in light and in dark."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from dr_edge.data.tasks import Task
from dr_edge.drawing import html, svg_charts, svg_shares
from dr_edge.evaluation import number_text, roc, subgroups
from dr_edge.evaluation.gallery import Card
from dr_edge.evaluation.predictions import MISSING, Predictions
from dr_edge.explanation import heatmaps
from dr_edge.metrics import bootstrap
from dr_edge.runs import TrainedRun

TEMPLATE = "report.html.j2"
HISTOGRAM_BINS = 20


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Cards of the report: the surest mistakes, right answers drawn at random, images least like those of training, and
    photographs beside changes of them that moved the answer most.
    """

    mistakes: list[Card]
    right: list[Card]
    distant: list[Card]
    unstable: Sequence[Any] = ()


def render(
    run: TrainedRun,
    records: str | os.PathLike,
    content: dict[str, Any],
    test: Predictions,
    pictures: Pictures,
) -> str:
    """Returns the report of a classification or multilabel run as HTML that refers to nothing outside itself."""
    task = run.task
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            run=run,
            task=task,
            content=content,
            metrics=content["metrics"],
            summary=number_text.summary(content),
            tiles=number_text.tiles(content),
            roc=_roc_chart(task, content, test),
            scores=_score_chart(task, test),
            reliability=_reliability_chart(content["calibration"]),
            balance=_balance_chart(records, task),
            confusion=_confusion_rows(task, content["metrics"]),
            stability=_stability_chart(content["stability"]),
            pictures=pictures,
            series=svg_charts.SERIES,
            titles=heatmaps.TITLES,
        )
    )


def environment(*directories: Path) -> jinja2.Environment:
    """Returns the Jinja environment of evaluations: number filters, and how intervals are drawn.

    Args:
      directories: where templates are looked for before this room's.
    """
    draws = {"split": bootstrap.DRAWS, "subgroups": subgroups.DRAWS, "band": roc.BAND_DRAWS}
    return html.environment(
        *directories,
        Path(__file__).parent,
        filters=number_text.FILTERS,
        values={"draws": draws, "level": bootstrap.LEVEL, "smallest_group": subgroups.SMALLEST},
    )


def _roc_chart(task: Task, content: dict[str, Any], test: Predictions) -> dict[str, Any] | None:
    """Returns {"svg", "legend"}: one curve with its band, or one curve per class."""
    single = task.kind == "classification"
    if single and len(task.class_names) == 2 and task.positive:
        ill, scores = task.is_positive(test.labels), task.positive_probability(test.probabilities)
        found = roc.curve(f"AUC {number_text.number(content['metrics']['auc'])}", ill, scores)
        if found is None:
            return None
        band = roc.band(ill, scores, test.patients)
        dots = [
            svg_charts.Dot(point["name"], 1 - point["specificity"], point["sensitivity"])
            for point in content["operating_points"]
            if point["specificity"] is not None and point["sensitivity"] is not None
        ]
        return {"svg": svg_charts.roc([found], band, dots), "legend": []}
    curves = []
    for index, name in enumerate(task.class_names):
        known = np.full(len(test), True) if single else test.labels[:, index] != MISSING
        positive = (test.labels == index) if single else (test.labels[:, index] == 1)
        auc = number_text.number(content["metrics"]["per_class"][name]["auc"])
        found = roc.curve(f"{name} {auc}", positive[known], test.probabilities[known, index])
        curves += [found] if found is not None else []
    return {"svg": svg_charts.roc(curves, None, []), "legend": [made.name for made in curves]} if curves else None


def _score_chart(task: Task, test: Predictions) -> dict[str, Any] | None:
    """Returns the histogram of the positive class's probability by label; None unless the task has two
    classes, one of them positive.
    """
    if len(task.class_names) != 2 or not task.positive:
        return None
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    scores = task.positive_probability(test.probabilities)
    counts = [
        (f"labelled {name}", np.histogram(scores[test.labels == index], edges)[0])
        for index, name in _healthy_first(task)
    ]
    svg = svg_charts.histogram(edges, counts, f"probability of {task.positive_name}")
    return {"svg": svg, "legend": [name for name, _ in counts]}


def _healthy_first(task: Task) -> list[tuple[int, str]]:
    """Returns (index, class name), those without the disease first: their colour is the same whatever the names."""
    return sorted(enumerate(task.class_names), key=lambda pair: pair[0] in task.positive)


def _reliability_chart(calibration: dict[str, Any]) -> dict[str, Any]:
    """Returns the reliability diagram before and, where it was fitted, after temperature scaling."""
    groups = [
        (f"{when} scaling", np.asarray(bins["confidence"]), np.asarray(bins["right"]), np.asarray(bins["images"]))
        for when, bins in calibration["diagram"].items()
        if bins is not None
    ]
    return {
        "svg": svg_charts.reliability(groups),
        "legend": [name for name, *_ in groups] if len(groups) > 1 else [],
    }


def _balance_chart(records: str | os.PathLike, task: Task) -> dict[str, Any]:
    """Returns the images per class of each split, as dataset.json counts them."""
    from dr_edge.data import pipeline
    from dr_edge.data.records_info import read_info

    info = read_info(records)
    rows: list[tuple[str, list[int]]] = []
    order = [index for index, _ in _healthy_first(task)]
    names = [task.class_names[index] for index in order]
    for split in info.content["splits"]:
        counts = pipeline.class_counts(info, split, task)[order]
        if task.kind == "multilabel":
            rows += [
                (f"{split} {name}", [int(absent), int(present)])
                for name, (absent, present) in zip(names, counts, strict=True)
            ]
        else:
            rows.append((split, [int(count) for count in counts]))
    legend = ["absent", "present"] if task.kind == "multilabel" else names
    return {"svg": svg_charts.balance(rows, legend), "legend": legend}


def _stability_chart(content: dict[str, Any]) -> dict[str, Any] | None:
    """Returns what became of the answers under each perturbation: flipped, refused; None where it was not measured."""
    if "reason" in content:
        return None
    rows = [(row["title"], (row["flips"], row["refused"]), row["photographs"]) for row in content["rows"]]
    legend = ["another answer", "refused"]
    return {"svg": svg_shares.shares(rows, legend, "% of photographs"), "legend": legend}


def _confusion_rows(task: Task, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the rows of the confusion matrix with the share of each cell in its row; [] for multilabel."""
    if task.kind == "multilabel":
        return []
    rows = []
    for name, counts in zip(task.class_names, values["confusion"], strict=True):
        total = max(sum(counts), 1)
        rows.append(
            {
                "name": name,
                "total": sum(counts),
                "cells": [{"count": count, "share": count / total} for count in counts],
            }
        )
    return rows
