"""The report of a segmentation run: overlap, vCDR scatter and Bland-Altman plot, outlines beside the labelled ones."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge.data.tasks import Task
from dr_edge.drawing import captions, overlay, svg_charts
from dr_edge.evaluation import number_text, report
from dr_edge.evaluation.gallery import Card, data_url
from dr_edge.evaluation.predictions import examples_by_id
from dr_edge.progress import Progress
from dr_edge.runs import TrainedRun

TEMPLATE = "mask_report.html.j2"


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Cards of the report: the worst overlaps, others drawn at random, images least like those of training."""

    worst: list[Card]
    others: list[Card]
    distant: list[Card]


def masks_of(task: Task) -> Task:
    """Returns the task without the heat maps of points, which have no outline."""
    return dataclasses.replace(task, class_names=task.class_names[: len(task.masks)], centres=())


def cards(
    run: TrainedRun, records: str | os.PathLike, split: str, scores: Any, rows: list[int], title: str
) -> list[Card]:
    """Draws labelled masks (left) and found masks (right) of the chosen rows of `scores`, with a progress bar."""
    examples = (
        examples_by_id(run, records, split, {str(scores.ids[row]) for row in rows}, run.task.masks) if rows else {}
    )
    result = []
    for row in Progress(rows, desc=f"outlines: {title}", unit="image", dynamic_ncols=True):
        example = examples[str(scores.ids[row])]
        truth = np.stack([example[f"mask/{name}"] for name in run.task.masks], axis=-1)
        probabilities = run.probabilities(run.model.predict_on_batch(example["image"][None]))[0]
        probabilities = probabilities[..., : len(run.task.masks)]
        caption = captions.mask_caption(masks_of(run.task), probabilities, truth, str(scores.ids[row]))
        labelled = overlay.draw_masks(example["photograph"], truth > 0.5)
        found = overlay.draw_masks(example["photograph"], probabilities >= 0.5)
        result.append(Card(caption, data_url(labelled), data_url(found)))
    return result


def render(run: TrainedRun, content: dict[str, Any], scores: Any, pictures: Pictures) -> str:
    """Returns the report as HTML that refers to nothing outside itself."""
    values = content["metrics"]
    return (
        report.environment(Path(__file__).parent)
        .get_template(TEMPLATE)
        .render(
            run=run,
            task=masks_of(run.task),
            content=content,
            metrics=values,
            tiles=_tiles(values),
            overlaps=_overlap_chart(run, scores),
            ratio=_ratio_charts(values["vcdr"], scores),
            pictures=pictures,
            series=svg_charts.SERIES,
            mask_colours=[
                "#{:02x}{:02x}{:02x}".format(*overlay.MASK_COLOURS[index % 4]) for index in range(len(run.task.masks))
            ],
        )
    )


def _tiles(values: dict[str, Any]) -> list[tuple[str, str, str]]:
    shown = [
        (f"Dice, {name}", number_text.number(entry["dice"], 3), number_text.interval(entry["dice_interval"], 3))
        for name, entry in values["per_class"].items()
    ]
    if values["vcdr"]:
        error = values["vcdr"]
        shown.append(
            (
                "vCDR error",
                number_text.number(error["mean_absolute_error"], 3),
                number_text.interval(error["mean_absolute_error_interval"], 3),
            )
        )
    if values["glaucoma"]:
        area = values["glaucoma"]
        shown.append(
            ("Glaucoma AUC of vCDR", number_text.number(area["auc"], 3), number_text.interval(area["auc_interval"], 3))
        )
    if values["fovea"]:
        error = values["fovea"]
        shown.append(
            (
                "Fovea error, disc diameters",
                number_text.number(error["disc_diameters"], 3),
                number_text.interval(error["disc_diameters_interval"], 3),
            )
        )
    return shown


def _overlap_chart(run: TrainedRun, scores: Any) -> dict[str, Any]:
    """Returns the histogram of Dice per image, stacked by class."""
    edges = np.linspace(0, 1, 21)
    counts = [
        (name, np.histogram(scores.dice[np.isfinite(scores.dice[:, index]), index], edges)[0])
        for index, name in enumerate(masks_of(run.task).class_names)
    ]
    return {
        "svg": svg_charts.histogram(edges, counts, "Dice of an image"),
        "legend": list(masks_of(run.task).class_names),
    }


def _ratio_charts(vcdr: dict[str, Any] | None, scores: Any) -> dict[str, Any] | None:
    """Returns {"scatter", "agreement"}: found against true vCDR, and their difference against their mean."""
    if vcdr is None or not vcdr["images"]:
        return None
    both = np.isfinite(scores.true_vcdr) & np.isfinite(scores.found_vcdr)
    true, found = scores.true_vcdr[both], scores.found_vcdr[both]
    lines = [("bias", vcdr["bias"])]
    lines += [("", vcdr["limits"][0]), ("", vcdr["limits"][1])] if vcdr["limits"] else []
    reach = max(0.2, float(np.ceil(10 * np.abs([*(found - true), *(value for _, value in lines)]).max()) / 10))
    names = ("mean of both", "found − labelled")
    return {
        "scatter": svg_charts.scatter(true, found, ("labelled vCDR", "found vCDR"), None, (0, 1, 0, 1)),
        "agreement": svg_charts.scatter((true + found) / 2, found - true, names, lines, (0, 1, -reach, reach)),
    }
