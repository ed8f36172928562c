"""The vessel tree: arteries and veins that leave the disc in four arcades, branch, taper and spare the fovea.

Trunks follow a template in disc diameters (the temporal arcades arch over and under the macula); branches are
walked step by step, each turning slowly from the direction in which it left its parent to one of its own.
"""

import dataclasses
import math

import numpy as np

from tfrecord_tools.synthetic import canvas
from tfrecord_tools.synthetic.anatomy import Anatomy
from tfrecord_tools.synthetic.streams import Stream, generator

AVASCULAR_RADIUS = 0.36  # disc diameters round the fovea that no vessel enters
_VEIN_WIDTH, _ARTERY_WIDTH = 0.078, 0.054  # of a trunk at the disc, disc diameters
_TEMPORAL = (  # (towards the fovea, up)
    *((0.02, 0.05), (0.04, 0.45), (0.25, 1.05), (0.9, 1.65), (1.8, 2.0)),
    *((2.8, 2.02), (3.8, 1.72), (4.9, 1.15), (6.2, 0.5)),
)
_NASAL = ((-0.05, 0.07), (-0.10, 0.4), (-0.45, 0.95), (-1.1, 1.55), (-1.9, 2.1), (-2.8, 2.65), (-3.8, 3.2))
_BEADS_PER_DIAMETER = 2.6
_BEAD_DEPTH = 0.42


@dataclasses.dataclass(frozen=True)
class Vessel:
    """One vessel: points [n, 2] and widths [n] in FOV units, vein or artery, and its order (0 is a trunk)."""

    points: np.ndarray
    widths: np.ndarray
    is_vein: bool
    order: int


@dataclasses.dataclass(frozen=True)
class VesselLayers:
    """Planes of the tree, each [size, size] float32 in 0..1: how strongly it absorbs, and its streak."""

    arteries: np.ndarray
    veins: np.ndarray
    reflex: np.ndarray


def plan_vessels(seed: int, eye: Anatomy) -> list[Vessel]:
    """Grows the tree of one eye; it depends on the seed and the eye's geometry, never on disease.

    Args:
      seed: the picture's seed.
      eye: where disc and fovea are.

    Returns:
      The vessels, trunks first.
    """
    rng = generator(seed, Stream.VESSELS)
    trunks = _trunks(rng, eye)
    branches = _branches(rng, eye, trunks, order=1, spacing=0.75, reach=(1.1, 2.9))
    twigs = _branches(rng, eye, branches, order=2, spacing=0.5, reach=(0.35, 1.0))
    return trunks + _macular_twigs(rng, eye) + branches + twigs


def bead_veins(seed: int, eye: Anatomy, tree: list[Vessel]) -> list[Vessel]:
    """Returns the tree with venous beading (widths that swell and shrink) in two or more quadrants.

    Paths are unchanged; only veins of order 0 and 1 in the chosen quadrants round the disc are beaded.
    """
    rng = generator(seed, Stream.BEADING)
    chosen = rng.permutation(4)[: int(rng.integers(2, 5))]
    phase = rng.uniform(0.0, 2.0 * np.pi)
    beaded = []
    for vessel in tree:
        middle = vessel.points[len(vessel.points) // 2] - np.array(eye.disc.centre)
        quadrant = int(middle[0] > 0) + 2 * int(middle[1] > 0)
        if not vessel.is_vein or vessel.order > 1 or quadrant not in chosen:
            beaded.append(vessel)
            continue
        along = _arc_length(vessel.points) / eye.disc_diameter
        start = np.clip((along - 0.6) / 0.5, 0.0, 1.0)  # the part on the disc stays as it is
        uneven = 0.9 * np.sin(1.7 * along + phase)  # beads are not evenly spaced
        swell = 1.0 + start * _BEAD_DEPTH * np.sin(2.0 * np.pi * _BEADS_PER_DIAMETER * along + phase + uneven)
        beaded.append(dataclasses.replace(vessel, widths=vessel.widths * swell))
    return beaded


def draw_vessels(tree: list[Vessel], size: int) -> VesselLayers:
    """Fills the tree into coverage planes.

    Args:
      tree: the vessels to draw.
      size: px across the FOV.

    Returns:
      Arteries, veins (0..1: fine vessels are fainter) and the light streak along the wide ones.
    """
    layers = [_stroke_all([v for v in tree if v.is_vein == veins], size, 1.0) for veins in (False, True)]
    streaks = _stroke_all([v for v in tree if v.order == 0], size, 0.3, opaque=True)
    arteries, veins, reflex = (
        canvas.reduce_layer(layer, size, size * blur)
        for layer, blur in zip((*layers, streaks), (0.0011, 0.0013, 0.0012), strict=True)
    )
    return VesselLayers(arteries, veins, reflex)


def occupancy(tree: list[Vessel], size: int) -> np.ndarray:
    """Returns how much of each pixel vessels cover, [size, size] float32 in 0..1, for coarse maps."""
    return canvas.reduce_layer(_stroke_all(tree, size, 1.0, opaque=True), size)


def _stroke_all(vessels: list[Vessel], size: int, share: float, opaque: bool = False) -> np.ndarray:
    """Strokes vessels into a fine layer in pieces of constant thickness, the widest last."""
    layer = canvas.new_layer(size)
    fixed = canvas.to_fixed(np.concatenate([vessel.points for vessel in vessels]), layer)
    widths = np.concatenate([vessel.widths for vessel in vessels]) * (share * layer.shape[0] / 2.0)
    thickness = np.maximum(1, np.round(widths).astype(int))
    lasts = np.cumsum([len(vessel.points) for vessel in vessels]) - 1  # no piece runs on into the next vessel
    cuts = np.union1d(np.flatnonzero(np.diff(thickness)) + 1, lasts + 1)
    ends = np.minimum(cuts, lasts[np.searchsorted(lasts, cuts - 1)])
    by_thickness: dict[int, list[np.ndarray]] = {}
    for first, last in zip([0, *cuts[:-1].tolist()], ends.tolist(), strict=True):
        by_thickness.setdefault(int(thickness[first]), []).append(fixed[first : last + 1])
    per_width = 0.065 * 1536 / layer.shape[0]
    for level in sorted(by_thickness):
        opacity = 1.0 if opaque else min(1.0, 0.30 + per_width * level)
        canvas.stroke(layer, by_thickness[level], level, opacity)
    return layer


def _arc_length(points: np.ndarray) -> np.ndarray:
    steps = np.hypot(*np.diff(points, axis=0).T)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _smooth_path(knots: np.ndarray, count: int) -> np.ndarray:
    """Runs a Catmull-Rom curve through [k, 2] knots; returns [count, 2] points."""
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    place = np.linspace(0.0, len(knots) - 1 - 1e-9, count)
    index = place.astype(int)
    t = (place - index)[:, None]
    a, b, c, d = (padded[index + step] for step in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def _meander(rng: np.random.Generator, points: np.ndarray, amplitude: float, unit: float) -> np.ndarray:
    """Displaces [n, 2] points sideways by a few slow waves; the first point stays."""
    along = _arc_length(points) / unit
    wave = np.zeros(len(points))
    for cycles in (0.35, 0.8, 1.7):  # per disc diameter
        turn = 2 * np.pi * cycles * rng.uniform(0.8, 1.2) * along
        wave += np.sin(turn + rng.uniform(0, 2 * np.pi)) / (0.6 + 2 * cycles)
    tangent = np.gradient(points, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) / np.hypot(*tangent.T)[:, None]
    return points + normal * (wave * amplitude * unit * np.clip(along / 0.6, 0, 1))[:, None]


def _trunks(rng: np.random.Generator, eye: Anatomy) -> list[Vessel]:
    trunks = []
    unit = eye.disc_diameter
    tortuosity = rng.uniform(0.05, 0.13)
    caliber = rng.uniform(0.88, 1.12)
    origin = np.array([-0.06 + rng.normal(0, 0.02), rng.normal(0, 0.02)])
    for superior in (1.0, -1.0):
        for template, strength in ((_TEMPORAL, 1.0), (_NASAL, 0.72)):
            vein_outside = rng.random() < 0.5
            for is_vein in (True, False):
                side = 1.0 if is_vein == vein_outside else -1.0
                knots = np.array(template)
                knots[:, 1] *= (1.0 + 0.08 * side + rng.normal(0, 0.07)) * superior
                knots[:, 1] += superior * np.linspace(0, 1, len(knots)) ** 2 * rng.normal(0.35, 0.5)
                knots[:, 0] += (-0.17 * side + rng.normal(0, 0.06)) * np.clip(np.abs(knots[:, 1]) * 2, 0, 1)
                scatter = 0.03 * np.clip(np.arange(len(knots)) + 1, 0, 2)[:, None]
                knots += origin + scatter * rng.standard_normal(knots.shape)
                path = _smooth_path(eye.place(knots[:, 0], knots[:, 1]), 96)
                path = _meander(rng, path, tortuosity * (1.0 if is_vein else 0.8), unit)
                width = (_VEIN_WIDTH if is_vein else _ARTERY_WIDTH) * unit * caliber * strength
                width *= rng.uniform(0.88, 1.12)
                taper = 1.0 - 0.68 * (np.linspace(0, 1, 96)) ** 0.8
                trunks.append(Vessel(path, width * taper, is_vein, 0))
    return trunks


def _macular_twigs(rng: np.random.Generator, eye: Anatomy) -> list[Vessel]:
    """Draws the small vessels that leave the temporal rim straight for the macula, and some nasal ones."""
    count = int(rng.integers(4, 8))
    towards_macula = rng.random(count) < 0.6
    angle = np.where(towards_macula, rng.uniform(-0.7, 0.7, count), np.pi + rng.uniform(-0.9, 0.9, count))
    start = np.stack([0.2 * np.cos(angle), 0.2 * np.sin(angle)], axis=1)
    starts = eye.place(start[:, 0], start[:, 1])
    steps = eye.place(np.cos(angle), np.sin(angle)) - np.array(eye.disc.centre)
    heading = np.arctan2(steps[:, 1], steps[:, 0])
    bend = rng.normal(0, 0.35, count)
    lengths = np.where(towards_macula, rng.uniform(1.0, 2.0, count), rng.uniform(1.2, 2.6, count))
    lengths *= eye.disc_diameter
    widths = rng.uniform(0.018, 0.03, count) * eye.disc_diameter
    return _walk(rng, eye, starts, heading, heading + bend, lengths, widths, rng.random(count) < 0.5, 1)


def _branches(
    rng: np.random.Generator,
    eye: Anatomy,
    parents: list[Vessel],
    order: int,
    spacing: float,
    reach: tuple[float, float],
) -> list[Vessel]:
    """Grows one generation of branches, alternately to either side of each parent."""
    unit = eye.disc_diameter
    starts, headings, targets, lengths, widths, veins = [], [], [], [], [], []
    for parent in parents:
        along = _arc_length(parent.points) / unit
        first = 0.75 if order == 1 else 0.25
        side = 1.0 if rng.random() < 0.5 else -1.0
        place = first + rng.uniform(0, spacing)
        while place < along[-1] - 0.1:
            index = int(np.searchsorted(along, place))
            place += spacing * rng.uniform(0.5, 1.5)
            point = parent.points[index]
            if index + 1 >= len(along) or math.hypot(*point) > 1.05:
                continue
            dx, dy = parent.points[index + 1] - point
            forward = math.atan2(dy, dx)
            turn = side * rng.uniform(0.45, 1.0)
            side = -side if rng.random() < 0.75 else side
            starts.append(point)
            headings.append(forward + turn)
            targets.append(forward + turn * rng.uniform(0.2, 1.3))
            lengths.append(rng.uniform(*reach) * unit)
            widths.append(min(parent.widths[index] * rng.uniform(0.5, 0.8), 0.05 * unit))
            veins.append(parent.is_vein)
    if not starts:
        return []
    start, heading, target, length, width, vein = map(np.array, (starts, headings, targets, lengths, widths, veins))
    return _walk(rng, eye, start, heading, target, length, width, vein, order)


def _walk(
    rng: np.random.Generator,
    eye: Anatomy,
    starts: np.ndarray,
    headings: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray,
    widths: np.ndarray,
    veins: np.ndarray,
    order: int,
    steps: int = 30,
) -> list[Vessel]:
    """Walks all branches of one generation together; each stops at the avascular zone round the fovea."""
    count = len(starts)
    fovea = np.array(eye.fovea)
    stop = AVASCULAR_RADIUS * eye.disc_diameter
    stride = (lengths / steps)[:, None]
    points = np.empty((steps + 1, count, 2))
    points[0] = starts
    heading, wobble = headings.astype(float).copy(), np.zeros(count)
    jitter = rng.normal(0.0, 1.0, (steps, count))
    ends = np.full(count, steps + 1)
    for step in range(steps):
        wobble = 0.8 * wobble + 0.075 * jitter[step]
        heading = heading + 0.09 * (targets - heading) + wobble
        points[step + 1] = points[step] + stride * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        inside = np.hypot(*(points[step + 1] - fovea).T) < stop
        ends = np.where(inside & (ends > step + 1), step + 1, ends)
    taper = 1.0 - 0.72 * np.linspace(0, 1, steps + 1)
    return [
        Vessel(points[: ends[i], i], widths[i] * taper[: ends[i]], bool(veins[i]), order)
        for i in range(count)
        if ends[i] >= 4
    ]
