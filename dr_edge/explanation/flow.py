"""Explains every picture by every method and writes one PNG for each, then the index page."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from dr_edge import metadata
from dr_edge.calibration import fit as fit_lib
from dr_edge.calibration import statistics, store
from dr_edge.drawing import captions, overlay
from dr_edge.explanation import heatmaps, page, pictures
from dr_edge.progress import Progress
from dr_edge.runs import TrainedRun, load_run

BATCH_SIZE = 8
MASK = "mask"
DEFAULT_METHODS = ("gradcam", "saliency")
UNLIKE = "unlike the training images"  # an answer of `predict` would be that alone


def explain(
    run_dir: str | os.PathLike,
    images: str,
    methods: Sequence[str],
    out: str | os.PathLike,
    limit: int | None = None,
    split: str = "test",
    diseases: Sequence[str] = (),
    heat_maps: str = overlay.POSITIVE,
) -> dict[str, int]:
    """Writes one picture per image and method (multilabel: and disease), and index.html, into `out`.

    Args:
      run_dir: a finished run.
      images: a records directory, a directory of photographs, a file or a glob.
      methods: keys of heatmaps.METHODS, or ("mask",) for a segmentation run; () takes the default of the
        task.
      out: a directory that does not exist yet or is empty.
      limit: at most this many images; None: all.
      split: of a records directory.
      diseases: of a multilabel run, the class names to explain; () takes all.
      heat_maps: "positive" draws them where a disease was found (`captions.heat_is_shown`), "all" everywhere.

    Returns:
      {"images": explained, "pictures": PNGs written, "rejected": files that are no fundus photograph}.

    Raises:
      ValueError: unknown methods or diseases, nothing to explain, or nothing but rejected files.
      ManifestError: no finished run or no such records.
      FileExistsError: `out` holds something.
    """
    run = store.calibrated(load_run(run_dir))
    methods = _checked_methods(run, methods)
    diseases = _checked_diseases(run, diseases)
    if limit is not None and limit < 1:
        raise ValueError(f"--limit must be at least 1. Received: {limit}.")
    source, total = _source(run, images, split)
    total = total if limit is None else min(total, limit)
    source = itertools.islice(source, limit)
    is_unlike = _ood_check(run)
    rows: list[page.Row] = []
    rejected: list[pictures.Rejected] = []
    taken: set[str] = set()
    with metadata.staged_directory(out) as staging:
        with Progress(total=total, desc="heat maps", unit="image", dynamic_ncols=True) as bar:
            for batch in _batched(source, rejected, bar):
                rows += _explain_batch(run, batch, methods, diseases, staging, taken, is_unlike, heat_maps)
                bar.update(len(batch))
        if not rows:
            reasons = "; ".join(f"{item.name}: {item.reason}" for item in rejected[:5])
            raise ValueError(f"None of {len(rejected)} files of --images={images} is a fundus photograph. {reasons}.")
        metadata.write_text(staging / "index.html", page.render(run, images, methods, rows, rejected))
    for item in rejected:
        logging.warning("Left out %s: %s.", item.name, item.reason)
    drawn = sum(len(part.files) for row in rows for part in row.parts)
    return {"images": len(rows), "pictures": drawn, "rejected": len(rejected)}


def _checked_methods(run: TrainedRun, methods: Sequence[str]) -> tuple[str, ...]:
    """Returns the methods to use; raises ValueError for one that the task or tf-keras-vis does not know."""
    known = (MASK,) if run.task.kind == "segmentation" else heatmaps.methods_of(run.model)
    default = tuple(method for method in (MASK, *DEFAULT_METHODS) if method in known)
    methods = tuple(dict.fromkeys(methods)) or default
    unknown = [method for method in methods if method not in known]
    if unknown:
        raise ValueError(f"--methods: no {', '.join(unknown)} for a {run.task.kind} run. Known: {', '.join(known)}.")
    return methods


def _checked_diseases(run: TrainedRun, diseases: Sequence[str]) -> tuple[str, ...]:
    """Returns the diseases to explain, () for all; raises ValueError for one that the run does not know."""
    diseases = tuple(dict.fromkeys(diseases))
    if diseases and run.task.kind != "multilabel":
        raise ValueError(
            f"--diseases is for a multilabel run. Received: {', '.join(diseases)} for a {run.task.kind} run. "
            "Leave it out."
        )
    unknown = [disease for disease in diseases if disease not in run.task.class_names]
    if unknown:
        raise ValueError(
            f"--diseases: the run knows no {', '.join(unknown)}. Known: {', '.join(run.task.class_names)}."
        )
    return diseases


def _source(run: TrainedRun, images: str, split: str) -> tuple[Iterator[Any], int]:
    """Returns the pictures and how many there are."""
    if pictures.is_records(images):
        from dr_edge.data import pipeline
        from dr_edge.data.records_info import read_info

        total = pipeline.example_count(read_info(images), split, run.task)
        return pictures.from_records(images, split, run, BATCH_SIZE), total
    paths = pictures.photograph_paths(images)
    return pictures.from_photographs(paths, run), len(paths)


def _batched(
    source: Iterable[pictures.Picture | pictures.Rejected], rejected: list[pictures.Rejected], bar: Progress
) -> Iterator[list[pictures.Picture]]:
    """Yields lists of up to BATCH_SIZE pictures; rejected files go to `rejected`."""
    batch: list[pictures.Picture] = []
    for item in source:
        if isinstance(item, pictures.Rejected):
            rejected.append(item)
            bar.update(1)
            continue
        batch.append(item)
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = []
    if batch:
        yield batch


def _explain_batch(
    run: TrainedRun,
    batch: list[pictures.Picture],
    methods: Sequence[str],
    diseases: Sequence[str],
    directory: Path,
    taken: set[str],
    is_unlike: Callable[[np.ndarray], np.ndarray],
    heat_maps: str,
) -> list[page.Row]:
    """Writes the PNGs of a batch and returns its rows of the index page."""
    images = np.stack([picture.image for picture in batch])
    probabilities = run.probabilities(run.model.predict_on_batch(images))
    remarks = [
        ", ".join(filter(None, (picture.remark, UNLIKE if far else "")))
        for picture, far in zip(batch, is_unlike(images), strict=True)
    ]
    batch = [dataclasses.replace(picture, remark=remark) for picture, remark in zip(batch, remarks, strict=True)]
    stems = [pictures.file_name(picture.name, taken) for picture in batch]
    rows = [page.Row(picture.name, []) for picture in batch]
    explained: list[np.ndarray | None] = [None]  # masks explain no single class
    if run.task.kind != "segmentation":
        explained = [*captions.explained_classes(run.task, probabilities, diseases)]
    suffixes = _suffixes(run, explained)
    for classes, suffix in zip(explained, suffixes, strict=True):
        for row in rows:
            row.parts.append(page.Part([]))
        shown_of = np.ones(len(batch), bool)
        if classes is not None and heat_maps != overlay.ALL:
            asked = zip(probabilities, classes, strict=True)
            shown_of = np.array([captions.heat_is_shown(run.task, scores, int(index)) for scores, index in asked])
        for method in methods:
            drawn = (
                _masks(run, batch, probabilities)
                if classes is None
                else _heat(run, batch, images, probabilities, method, classes, shown_of)
            )
            for stem, row, is_shown, (picture, caption) in zip(stems, rows, shown_of, drawn, strict=True):
                if not is_shown and method != methods[0]:
                    continue  # one file says it
                name = f"{stem}.{method.replace('+', 'p')}{suffix}.png"
                metadata.write_bytes(directory / name, overlay.encode_png(picture))
                shown = caption.title if classes is None else heatmaps.TITLES[method]
                if run.task.kind == "multilabel":
                    shown = f"{shown} of {caption.explains}"  # the headline may be of its absence
                row.parts[-1].files.append((name, shown))
                row.parts[-1].is_shown = bool(is_shown)
                row.parts[-1].caption = caption
    return rows


def _ood_check(run: TrainedRun) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from images [B, S, S, 3] to whether each lies beyond the stored threshold of the distance, [B]
    bool; of a run with which none is stored nothing is known, and the function says no.
    """
    fit = store.stored_fit(run)
    features = None if fit is None else fit.features
    if fit is None or features is None:
        return lambda images: np.zeros(len(images), bool)
    predict, threshold = fit_lib.predictor(run), fit.ood["threshold"]

    def is_unlike(images: np.ndarray) -> np.ndarray:
        return statistics.mahalanobis_distance(np.asarray(predict(images)[1]), features) > threshold

    return is_unlike


def _remarked(caption: overlay.Caption, picture: pictures.Picture) -> overlay.Caption:
    detail = f"{caption.detail}; {picture.remark}" if picture.remark else caption.detail
    return dataclasses.replace(caption, detail=detail)


def _suffixes(run: TrainedRun, explained: Sequence[np.ndarray | None]) -> list[str]:
    """Returns the part of the file name for each of `explained`: ".<disease>" for multilabel, else empty."""
    taken: set[str] = set()
    if run.task.kind != "multilabel":
        return [""] * len(explained)
    names = [run.task.class_names[int(classes[0])] for classes in explained if classes is not None]
    return ["." + pictures.file_name(name, taken) for name in names]


def _heat(
    run: TrainedRun,
    batch: list[pictures.Picture],
    images: np.ndarray,
    probabilities: np.ndarray,
    method: str,
    classes: np.ndarray,
    shown_of: np.ndarray,
) -> Iterator[tuple[np.ndarray, overlay.Caption]]:
    """Yields the picture and caption of each image for a heat map method and the class, [B] int; `shown_of` [B] bool
    says where the map is drawn.
    """
    maps: list[np.ndarray | None] = [None] * len(batch)
    if shown_of.any():
        maps = [*heatmaps.heat_maps(run.model, method, images, classes, run.background)]
    title = heatmaps.TITLES[method]
    for picture, heat, scores, index, is_shown in zip(batch, maps, probabilities, classes, shown_of, strict=True):
        caption = _remarked(captions.caption(run.task, scores, picture.label, picture.name, title, int(index)), picture)
        if is_shown and heat is not None:
            yield overlay.panel(picture.photograph, overlay.lay_over(picture.photograph, heat), caption), caption
            continue
        caption = dataclasses.replace(caption, title=f"no heat map of {caption.explains}")
        yield overlay.panel(picture.photograph, overlay.without_heat(), caption, False, overlay.panel_width()), caption


def _masks(
    run: TrainedRun, batch: list[pictures.Picture], probabilities: np.ndarray
) -> Iterator[tuple[np.ndarray, overlay.Caption]]:
    """Yields the picture and caption of each image with the masks that the model draws."""
    for picture, scores in zip(batch, probabilities, strict=True):
        truth = picture.label if isinstance(picture.label, np.ndarray) else None
        caption = _remarked(captions.mask_caption(run.task, scores, truth, picture.name), picture)
        points = range(len(run.task.masks), len(run.task.class_names))
        drawn = overlay.draw_found(picture.photograph, scores, points)
        yield overlay.panel(picture.photograph, drawn, caption, colour_bar=False), caption
