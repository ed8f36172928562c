"""What disc and cup say of glaucoma: vertical cup-to-disc ratio (vCDR), fovea distance, and the ratio's AUC.

numpy and OpenCV only, so that a phone-side tool computes the same numbers without TensorFlow; `glaucoma_auc` alone
needs scikit-learn. An app's own port has four steps: carry each mask from the model's square crop to the photograph
(`photograph_mask`), keep the largest connected part (`largest_component`), count its rows (`height`), divide (`vcdr`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np

from dr_edge.fundus.crop import FieldOfView, uncrop_mask, uncrop_points

THRESHOLD = 0.5  # of a mask's probability
MISSING = -1


def largest_component(mask: np.ndarray) -> np.ndarray:
    """Returns the largest 8-connected part of a mask; of equally large ones the topmost, then leftmost.

    Args:
      mask: [H, W] bool, or numbers of which non-zero is inside.

    Returns:
      [H, W] bool; empty where the mask is.

    Raises:
      ValueError: the mask is not [H, W].
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"A mask must be [H, W]. Received: {mask.shape}. Pass one structure of one image.")
    count, parts, statistics, _ = cv2.connectedComponentsWithStats((mask != 0).astype(np.uint8), connectivity=8)
    if count < 2:
        return np.zeros(mask.shape, bool)
    return parts == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))


def height(mask: np.ndarray) -> int:
    """Returns the vertical extent in pixels of the largest part of a mask [H, W]; 0 where it is empty."""
    rows = np.flatnonzero(largest_component(mask).any(axis=1))
    return int(rows[-1] - rows[0] + 1) if rows.size else 0


def vcdr(disc_mask: np.ndarray, cup_mask: np.ndarray) -> float:
    """Computes the vertical cup-to-disc ratio: height of the cup / height of the disc, each of its largest part.

    Args:
      disc_mask: [H, W] bool, the optic disc with the cup inside it. In the photograph's own frame, or in any frame
        whose vertical scale is even: a crop without rotation gives the same ratio but for its coarser pixels.
      cup_mask: [H, W] bool, of the same frame.

    Returns:
      The ratio, > 0 (about 0.3 in a healthy eye; above 1 where the masks contradict each other); NaN where either is
      empty.

    Raises:
      ValueError: the masks are not [H, W] of one size.
    """
    if np.shape(disc_mask) != np.shape(cup_mask):
        raise ValueError(
            f"Disc and cup must be of one frame. Received: {np.shape(disc_mask)} and {np.shape(cup_mask)}."
        )
    disc, cup = height(disc_mask), height(cup_mask)
    return cup / disc if disc and cup else math.nan


def photograph_mask(
    mask: np.ndarray, crop_box: Sequence[float], source_size: Sequence[int], threshold: float = THRESHOLD
) -> np.ndarray:
    """Carries a mask of the model's square crop back into the photograph.

    Probabilities are interpolated before they are cut at `threshold`, so that the outline is finer than the model's
    pixels.

    Args:
      mask: [S, S] bool, or float probabilities 0..1.
      crop_box: top, left, bottom, right of the crop in photograph pixels, as records and metadata state it.
      source_size: height, width of the photograph in pixels.
      threshold: inside is where the probability is at least this.

    Returns:
      [height, width] bool; False outside the crop.

    Raises:
      ValueError: the mask is not square, or the box is empty.
    """
    values = np.asarray(mask)
    fov, (rows, columns) = FieldOfView.from_box(*map(float, crop_box)), map(int, source_size)
    if values.dtype == bool:
        return uncrop_mask(values, fov, rows, columns)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise ValueError(f"photograph_mask needs a square [S, S] mask. Received: {values.shape}.")
    to_photograph = uncrop_points(np.array([[0.0, 0.0], [1.0, 1.0]]), fov, len(values))
    offset, step = to_photograph[0], to_photograph[1] - to_photograph[0]
    matrix = np.array([[1 / step[0], 0, -offset[0] / step[0]], [0, 1 / step[1], -offset[1] / step[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    carried = cv2.warpAffine(values.astype(np.float32), matrix, (columns, rows), flags=flags)
    return carried >= threshold


def disc_diameter(disc_mask: np.ndarray) -> float:
    """Returns the diameter in pixels of the circle with the area of the disc's largest part; NaN where it is empty."""
    area = int(largest_component(disc_mask).sum())
    return 2 * math.sqrt(area / math.pi) if area else math.nan


def heat_position(heat: np.ndarray, radius_fraction: float = 0.03) -> tuple[float, float]:
    """Finds the point that a heat map [S, S] (probabilities 0..1) marks, between pixels.

    Args:
      heat: [S, S] float.
      radius_fraction: the centroid is taken within this fraction of the side around the hottest pixel.

    Returns:
      x, y in pixels of the map, the centre of the first pixel being (0, 0).

    Raises:
      ValueError: the map is not [H, W] or not finite.
    """
    heat = np.asarray(heat, np.float64)
    if heat.ndim != 2 or not np.isfinite(heat).all():
        raise ValueError(f"A heat map must be [S, S] and finite. Received: {heat.shape}.")
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    y, x = np.mgrid[: heat.shape[0], : heat.shape[1]]
    near = np.hypot(x - column, y - row) <= max(1.0, radius_fraction * heat.shape[1])
    # Above half of the peak only: a flat background would pull the centroid away from a peak near the border.
    weight = np.where(near, np.maximum(heat - heat[row, column] / 2, 0), 0)
    if weight.sum() == 0:
        return float(column), float(row)
    return float((weight * x).sum() / weight.sum()), float((weight * y).sum() / weight.sum())


@dataclasses.dataclass(frozen=True)
class PointError:
    """How far a point was found from where it is.

    Attributes:
      pixels: distance in pixels of the frame that both points are given in.
      disc_diameters: the same as a multiple of the optic disc's diameter; NaN where there is no disc.
    """

    pixels: float
    disc_diameters: float


def fovea_error(found: Sequence[float], true: Sequence[float], disc_mask: np.ndarray | None = None) -> PointError:
    """Computes the distance between two points (x, y) of one frame, measured by its true disc [H, W]."""
    pixels = math.dist(tuple(map(float, found)), tuple(map(float, true)))
    diameter = math.nan if disc_mask is None else disc_diameter(disc_mask)
    return PointError(pixels, pixels / diameter)


def glaucoma_auc(labels: np.ndarray, ratios: np.ndarray) -> tuple[float | None, int]:
    """Computes the area under the ROC curve of the vCDR as a score for glaucoma.

    Args:
      labels: [N] int, 1 glaucoma, 0 none, -1 not known.
      ratios: [N] float vCDR; NaN where none was found. Such an image is left out, since it has no score.

    Returns:
      The area, None where either class is absent; and how many images it was computed of.

    Raises:
      ValueError: the lengths differ, or a label is none of -1, 0, 1.
    """
    labels, ratios = np.asarray(labels), np.asarray(ratios, np.float64)
    if labels.shape != ratios.shape or labels.ndim != 1 or not np.isin(labels, (MISSING, 0, 1)).all():
        raise ValueError(
            f"Glaucoma labels must be [N] of -1, 0, 1, with one ratio each. Received: {labels.shape} with values "
            f"{np.unique(labels)[:5].tolist()}, ratios {ratios.shape}."
        )
    used = (labels != MISSING) & np.isfinite(ratios)
    if np.unique(labels[used]).size < 2:
        return None, int(used.sum())
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels[used], ratios[used])), int(used.sum())
