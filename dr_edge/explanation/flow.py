"""Explains every picture by every method and writes one PNG for each, then the index page."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from tqdm import tqdm

from dr_edge import fitted, metadata
from dr_edge.explanation import answers, heatmaps, overlay, page, pictures
from dr_edge.trained import TrainedRun, load_run

BATCH_SIZE = 8
MASK = "mask"
DEFAULT_METHODS = ("gradcam", "saliency")


def explain(
    run_dir: str | os.PathLike,
    images: str,
    methods: Sequence[str],
    out: str | os.PathLike,
    limit: int | None = None,
    split: str = "test",
) -> dict[str, int]:
    """Writes one picture per image and method, and index.html, into `out`.

    Args:
      run_dir: a finished run.
      images: a records directory, a directory of photographs, a file or a glob.
      methods: keys of heatmaps.METHODS, or ("mask",) for a segmentation run; () takes the default of the
        task.
      out: a directory that does not exist yet or is empty.
      limit: at most this many images; None: all.
      split: of a records directory.

    Returns:
      {"images": explained, "pictures": PNGs written, "rejected": files that are no fundus photograph}.

    Raises:
      ValueError: unknown methods, nothing to explain, or nothing but rejected files.
      ManifestError: no finished run or no such records.
      FileExistsError: `out` holds something.
    """
    run = fitted.calibrated(load_run(run_dir))
    methods = _checked_methods(run, methods)
    if limit is not None and limit < 1:
        raise ValueError(f"--limit must be at least 1. Received: {limit}.")
    source, total = _source(run, images, split)
    total = total if limit is None else min(total, limit)
    source = itertools.islice(source, limit)
    rows: list[page.Row] = []
    rejected: list[pictures.Rejected] = []
    taken: set[str] = set()
    with metadata.staged_directory(out) as staging:
        with tqdm(total=total, desc="heat maps", unit="image", dynamic_ncols=True) as bar:
            for batch in _batched(source, rejected, bar):
                rows += _explain_batch(run, batch, methods, staging, taken)
                bar.update(len(batch))
        if not rows:
            reasons = "; ".join(f"{item.name}: {item.reason}" for item in rejected[:5])
            raise ValueError(
                f"None of {len(rejected)} files of --images={images} is a fundus photograph. {reasons}."
            )
        metadata.write_text(staging / "index.html", page.render(run, images, methods, rows, rejected))
    for item in rejected:
        logging.warning("Left out %s: %s.", item.name, item.reason)
    return {"images": len(rows), "pictures": len(rows) * len(methods), "rejected": len(rejected)}


def _checked_methods(run: TrainedRun, methods: Sequence[str]) -> tuple[str, ...]:
    """Returns the methods to use; raises ValueError for one that the task or tf-keras-vis does not know."""
    known = (MASK,) if run.task.kind == "segmentation" else tuple(heatmaps.METHODS)
    methods = tuple(dict.fromkeys(methods)) or (
        (MASK,) if run.task.kind == "segmentation" else DEFAULT_METHODS
    )
    unknown = [method for method in methods if method not in known]
    if unknown:
        raise ValueError(
            f"--methods: no {', '.join(unknown)} for a {run.task.kind} run. Known: {', '.join(known)}."
        )
    return methods


def _source(run: TrainedRun, images: str, split: str) -> tuple[Iterator[Any], int]:
    """Returns the pictures and how many there are."""
    if pictures.is_records(images):
        from dr_edge.data import pipeline

        total = pipeline.example_count(pipeline.read_info(images), split, run.task)
        return pictures.from_records(images, split, run, BATCH_SIZE), total
    paths = pictures.photograph_paths(images)
    return pictures.from_photographs(paths, run), len(paths)


def _batched(
    source: Iterable[pictures.Picture | pictures.Rejected], rejected: list[pictures.Rejected], bar: tqdm
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
    run: TrainedRun, batch: list[pictures.Picture], methods: Sequence[str], directory: Path, taken: set[str]
) -> list[page.Row]:
    """Writes the PNGs of a batch and returns its rows of the index page."""
    images = np.stack([picture.image for picture in batch])
    probabilities = run.probabilities(run.model.predict_on_batch(images))
    stems = [pictures.file_name(picture.name, taken) for picture in batch]
    rows = [page.Row(picture.name, [], None) for picture in batch]
    for method in methods:
        drawn = _masks if method == MASK else _heat
        for index, (picture, caption) in enumerate(drawn(run, batch, images, probabilities, method)):
            name = f"{stems[index]}.{method.replace('+', 'p')}.png"
            metadata.write_bytes(directory / name, overlay.encode_png(picture))
            rows[index].files.append((name, caption.title))
            rows[index].caption = caption
    return rows


def _heat(
    run: TrainedRun, batch: list[pictures.Picture], images: np.ndarray, probabilities: np.ndarray, method: str
) -> Iterator[tuple[np.ndarray, overlay.Caption]]:
    """Yields the picture and caption of each image for a heat map method."""
    maps = heatmaps.heat_maps(
        run.model, method, images, answers.explained_class(probabilities), run.background
    )
    for picture, heat, scores in zip(batch, maps, probabilities, strict=True):
        caption = answers.caption(run.task, scores, picture.label, picture.name, heatmaps.TITLES[method])
        yield overlay.panel(picture.photograph, overlay.lay_over(picture.photograph, heat), caption), caption


def _masks(
    run: TrainedRun, batch: list[pictures.Picture], images: np.ndarray, probabilities: np.ndarray, method: str
) -> Iterator[tuple[np.ndarray, overlay.Caption]]:
    """Yields the picture and caption of each image with the masks that the model draws."""
    for picture, scores in zip(batch, probabilities, strict=True):
        truth = picture.label if isinstance(picture.label, np.ndarray) else None
        caption = answers.mask_caption(run.task, scores, truth, picture.name)
        drawn = overlay.draw_masks(picture.photograph, scores >= 0.5)
        yield overlay.panel(picture.photograph, drawn, caption, colour_bar=False), caption
