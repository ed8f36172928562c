"""Fits a circle, or an upright ellipse, to the rim points that agree: RANSAC, then least squares."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np

_TRIALS = 150
_JURY = 100  # points that judge the candidates; all of them refine the winner
_ASPECTS = (0.45, 0.97, 1.1, 1.7)  # narrow, 0.56 is 16:9 squashed into a square; and wide


@dataclass(frozen=True)
class Rim:
    """A fitted rim, in the pixels of the points it was fitted to.

    Attributes:
      x, y: centre; radius: vertical; aspect: horizontal / vertical radius.
      support: fraction of the rim inside the frame that has a point on it, 0..1.
      arc: how much of the whole circle has a point on it, in degrees.
      explained: fraction of the points that lie on the rim, 0..1.
      quarters: in how many quarters of the circle there is a point on it, 0..4.
    """

    x: float
    y: float
    radius: float
    aspect: float
    support: float
    arc: float
    explained: float
    quarters: int


def fit_rim(
    points: np.ndarray,
    shape: tuple[int, int],
    *,
    radius_range: tuple[float, float],
    tolerance: float,
    squashed: bool = False,
) -> Rim | None:
    """Fits the rim on which the most points agree.

    Args:
      points: [N, 2] (x, y) pixels.
      shape: (height, width) of the frame: rim outside it cannot be seen and does not count against the fit.
      radius_range: smallest and largest vertical radius in pixels.
      tolerance: largest distance of a point from the rim in pixels.
      squashed: also allow an upright ellipse, narrower than high or wider.

    Returns:
      The rim, or None when no three (four) points make one in that range. The same points give the same rim.
    """
    needed = 4 if squashed else 3
    if len(points) < 2 * needed:
        return None
    middle = points.mean(axis=0)
    centred = points - middle
    best = _agreed(centred, radius_range, tolerance, squashed)
    if best is None:
        best = _sampled(centred, radius_range, tolerance, squashed)
    if best is None:
        return None
    for scale in (1.5, 1.0, 1.0):  # least squares on the points that agree
        inliers = _distances(centred, best[None])[0] < tolerance * scale
        if inliers.sum() < 2 * needed:
            return None
        refined = _solve(centred[None, inliers], squashed)
        if not _plausible(refined, radius_range)[0]:
            break
        best = refined[0]
    return _rim(points, middle, best, tolerance, shape)


def _agreed(
    points: np.ndarray, radius_range: tuple[float, float], tolerance: float, squashed: bool
) -> np.ndarray | None:
    """Returns the rim through all points when nearly all lie on it, which spares the search; else None."""
    rim = _solve(points[None], squashed)
    if not _plausible(rim, radius_range)[0] or (_distances(points, rim)[0] < tolerance).mean() < 0.9:
        return None
    return rim[0]


def _sampled(
    points: np.ndarray, radius_range: tuple[float, float], tolerance: float, squashed: bool
) -> np.ndarray | None:
    """Returns the rim through a few points on which the most others agree (RANSAC), or None."""
    chosen = np.random.default_rng(0).integers(0, len(points), (_TRIALS, 4 if squashed else 3))
    candidates = _solve(points[chosen], squashed)
    candidates = candidates[_plausible(candidates, radius_range)]
    if not len(candidates):
        return None
    some = points[:: max(1, len(points) // _JURY)]
    return candidates[np.argmax((_distances(some, candidates) < tolerance).sum(axis=1))]


def _rim(points: np.ndarray, middle: np.ndarray, best: np.ndarray, tolerance: float, shape: tuple[int, int]) -> Rim:
    inliers = _distances(points - middle, best[None])[0] < tolerance
    x, y, radius, aspect = best[0] + middle[0], best[1] + middle[1], best[2], best[3]
    visible, seen = _arcs(points[inliers], (x, y, radius, aspect), shape)
    return Rim(
        float(x),
        float(y),
        float(radius),
        float(aspect),
        support=float(seen.sum() / max(visible.sum(), 1)),
        arc=float(seen.mean() * 360),
        explained=float(inliers.mean()),
        quarters=int(seen.reshape(4, -1).any(axis=1).sum()),
    )


def _solve(points: np.ndarray, squashed: bool) -> np.ndarray:
    """Returns [T, 4] (x, y, radius, aspect): the algebraic least-squares rim of each of [T, N, 2]; NaN for none."""
    x, y = points[..., 0], points[..., 1]
    one = np.ones_like(x)
    if squashed:  # y^2 = a x^2 + b x + c y + d
        design, target = np.stack([x * x, x, y, one], axis=-1), y * y
    else:  # x^2 + y^2 = b x + c y + d
        design, target = np.stack([x, y, one], axis=-1), x * x + y * y
    scale = np.maximum(np.abs(design).max(axis=-2, keepdims=True), 1e-12)  # one size of number in every column
    design = design / scale
    normal = np.swapaxes(design, -1, -2) @ design
    right = np.swapaxes(design, -1, -2) @ target[..., None]
    solution = np.full((len(points), design.shape[-1]), np.nan)
    solvable = np.abs(np.linalg.det(normal)) > 1e-14
    solution[solvable] = np.linalg.solve(normal[solvable], right[solvable])[..., 0]
    solution /= scale[:, 0]
    a, b, c, d = solution.T if squashed else (np.full(len(points), -1.0), *solution.T)
    with np.errstate(invalid="ignore", divide="ignore"):
        a = np.where(a < 0, a, np.nan)
        centre_x, centre_y = -b / (2 * a), c / 2
        radius = np.sqrt(d + centre_y**2 - a * centre_x**2)
        return np.stack([centre_x, centre_y, radius, 1 / np.sqrt(-a)], axis=1)


def _plausible(rims: np.ndarray, radius_range: tuple[float, float]) -> np.ndarray:
    radius, aspect = rims[:, 2], rims[:, 3]
    with np.errstate(invalid="ignore"):
        sized = (radius >= radius_range[0]) & (radius <= radius_range[1])
        narrow = (aspect >= _ASPECTS[0]) & (aspect <= _ASPECTS[1])
        wide = (aspect >= _ASPECTS[2]) & (aspect <= _ASPECTS[3])
        return sized & ((aspect == 1) | narrow | wide)


def _distances(points: np.ndarray, rims: np.ndarray) -> np.ndarray:
    """Returns [rims, N]: distance of each point from each rim in pixels (first order for an ellipse)."""
    x, y, radius, aspect = (rims[:, i, None] for i in range(4))
    dx, dy = (points[None, :, 0] - x) / aspect, points[None, :, 1] - y
    from_centre = np.hypot(dx, dy)
    # Gradient of the stretched radius, so that a squashed rim is measured in real pixels too.
    steepness = np.hypot(dx / aspect, dy) / np.maximum(from_centre, 1e-6)
    return np.abs(from_centre - radius) / np.maximum(steepness, 1e-6)


def _arcs(
    points: np.ndarray, rim: tuple[float, float, float, float], shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (visible, seen), [180] bool each: two-degree arcs that lie inside the frame; those with a point."""
    x, y, radius, aspect = rim
    bins = 180
    angles = (np.arange(bins) + 0.5) * (2 * np.pi / bins)
    rim_x, rim_y = x + radius * aspect * np.cos(angles), y + radius * np.sin(angles)
    margin = 0.01 * max(shape)
    visible = (rim_x > margin) & (rim_x < shape[1] - 1 - margin) & (rim_y > margin) & (rim_y < shape[0] - 1 - margin)
    at = np.arctan2(points[:, 1] - y, (points[:, 0] - x) / aspect) % (2 * np.pi)
    hit = np.zeros(bins, bool)
    hit[np.minimum((at * bins / (2 * np.pi)).astype(int), bins - 1)] = True
    return visible, hit & visible


def sharpen_rim(rim: Rim, brightness: np.ndarray, *, reach: float, tolerance: float) -> Rim:
    """Moves a rim onto the steepest fall of brightness near it, which no threshold shifts.

    Args:
      rim: a fitted rim.
      brightness: [h, w] the picture it was fitted in.
      reach: how far inwards and outwards to look, as a fraction of the radius.
      tolerance: as for `fit_rim`.

    Returns:
      The sharpened rim, or `rim` itself where the fall is too faint to be followed.
    """
    angles = np.arange(240) * (2 * np.pi / 240)
    steps = max(8, int(2 * reach * rim.radius / 0.5))
    stretch = np.linspace(1 - reach, 1 + reach, steps)
    x = (rim.x + rim.radius * rim.aspect * np.cos(angles)[:, None] * stretch).astype(np.float32)
    y = (rim.y + rim.radius * np.sin(angles)[:, None] * stretch).astype(np.float32)
    profile = cv2.remap(brightness, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    fall = profile[:, :-2] - profile[:, 2:]  # [angles, steps - 2]
    at = fall.argmax(axis=1)
    rows = np.arange(len(angles))
    px, py = x[rows, at + 1], y[rows, at + 1]
    height, width = brightness.shape
    free = (px > 1.5) & (py > 1.5) & (px < width - 2.5) & (py < height - 2.5)
    clear = free & (fall[rows, at] >= 3) & (at > 0) & (at < fall.shape[1] - 1)
    if clear.sum() < 0.3 * max(free.sum(), 1):
        return rim
    points = np.stack([px, py], axis=1)[clear].astype(np.float64)
    limits = (rim.radius * (1 - reach), rim.radius * (1 + reach))
    found = fit_rim(points, brightness.shape, radius_range=limits, tolerance=tolerance, squashed=rim.aspect != 1)
    if found is None or found.arc < 0.6 * rim.arc or abs(found.aspect - rim.aspect) > reach:
        return rim
    return dataclasses.replace(rim, x=found.x, y=found.y, radius=found.radius, aspect=found.aspect)
