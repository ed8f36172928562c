"""The scores of a segmentation run as a CSV file, a row per image, and back."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dr_edge import metadata, spreadsheet
from dr_edge.evaluation.masks.scores import MaskScores
from dr_edge.evaluation.predictions import CSV_FILE, MISSING

MEASURES = ("vcdr_true", "vcdr_found", "fovea_pixels", "fovea_disc_diameters")
LAST = ("glaucoma", "laterality", "quality", "source_height", "source_width")


def to_csv(class_names: Sequence[str], scores: MaskScores) -> str:
    """Returns the table as CSV: id, patient, dice_<class>, iou_<class>, vCDR, fovea's error, glaucoma, laterality,
    quality, height, width. A value that is not known is an empty cell.
    """
    rows: list[list[object]] = []
    for row in range(len(scores.ids)):
        values = [*scores.dice[row], *scores.iou[row], scores.true_vcdr[row], scores.found_vcdr[row]]
        values += [scores.fovea_pixels[row], scores.fovea_disc_diameters[row]]
        cells = ["" if not np.isfinite(value) else f"{value:.6f}" for value in values]
        glaucoma = "" if scores.glaucoma[row] < 0 else scores.glaucoma[row]
        place = [scores.laterality[row], f"{scores.quality[row]:.4f}", *scores.source_size[row]]
        rows.append([scores.ids[row], scores.patients[row], *cells, glaucoma, *place])
    return spreadsheet.to_csv(["id", "patient", *_overlaps(class_names), *MEASURES, *LAST], rows)


def from_csv(evaluation: str | os.PathLike, class_names: Sequence[str]) -> MaskScores:
    """Reads the predictions.csv of a segmentation run's evaluation directory.

    Args:
      evaluation: RUN/evaluation/<split>.
      class_names: of the masks, without those of points.

    Raises:
      ManifestError: the file is missing, or does not hold these masks' columns.
    """
    path = Path(evaluation) / CSV_FILE
    if not path.is_file():
        raise metadata.ManifestError(f"{path} is missing. Run python -m dr_edge.evaluate again.")
    rows = spreadsheet.read(path)
    wanted = ("id", "patient", *_overlaps(class_names), *MEASURES, *LAST)
    missing = [name for name in wanted if not rows or name not in rows[0]]
    if missing:
        raise metadata.ManifestError(f"{path}: columns {', '.join(missing)} missing. Evaluate the run again.")

    def numbers(name: str) -> np.ndarray:
        return np.array([float(row[name]) if row[name] else math.nan for row in rows])

    return MaskScores(
        ids=np.array([row["id"] for row in rows]),
        patients=np.array([row["patient"] for row in rows]),
        laterality=np.array([row["laterality"] for row in rows]),
        dice=np.stack([numbers(f"dice_{name}") for name in class_names], axis=1),
        iou=np.stack([numbers(f"iou_{name}") for name in class_names], axis=1),
        true_vcdr=numbers("vcdr_true"),
        found_vcdr=numbers("vcdr_found"),
        quality=numbers("quality"),
        source_size=np.array([[int(row["source_height"]), int(row["source_width"])] for row in rows]),
        glaucoma=np.array([int(row["glaucoma"]) if row["glaucoma"] else MISSING for row in rows]),
        fovea_pixels=numbers("fovea_pixels"),
        fovea_disc_diameters=numbers("fovea_disc_diameters"),
    )


def _overlaps(class_names: Sequence[str]) -> list[str]:
    return [f"{kind}_{name}" for kind in ("dice", "iou") for name in class_names]
