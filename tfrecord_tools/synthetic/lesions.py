"""Which lesions a grade has, how many, and where: the plan of the disease.

Grades follow the International Clinical Diabetic Retinopathy scale (ICDR; Wilkinson et al., 2003): 0 none;
1 only microaneurysms; 2 more than those, less than 3; 3 many haemorrhages in all four quadrants and venous
beading (the 4-2-1 rule, drawn with fewer haemorrhages than its twenty per quadrant); 4 new vessels, some
with blood before the retina.
"""

import dataclasses

import numpy as np

from tfrecord_tools.synthetic import canvas
from tfrecord_tools.synthetic.anatomy import Anatomy
from tfrecord_tools.synthetic.streams import Stream, generator

LESIONS = ("microaneurysms", "haemorrhages", "hard_exudates", "cotton_wool_spots", "neovascularisation")

# Least and most of each lesion by grade. 'haemorrhages' counts preretinal ones too; 'preretinal' is how many
# of them lie before the retina; 'per_quadrant' is the least number of haemorrhages in each quarter of the
# field of view.
_COUNTED = (*LESIONS, "per_quadrant", "preretinal")
GRADE_LESIONS: dict[int, dict[str, tuple[int, int]]] = {
    grade: dict(zip(_COUNTED, counts, strict=True))
    for grade, counts in enumerate((
        ((0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0)),
        ((1, 6), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0)),
        ((5, 20), (3, 14), (0, 90), (0, 3), (0, 0), (0, 0), (0, 0)),
        ((12, 35), (28, 56), (0, 140), (1, 6), (0, 0), (5, 5), (0, 0)),
        ((8, 28), (8, 36), (0, 110), (0, 5), (1, 3), (0, 0), (0, 1)),
    ))
}  # fmt: skip
# How common each grade is when none is asked for (in EyePACS about .73 .07 .15 .03 .02; here the ill are more).
GRADE_SHARES = (0.45, 0.12, 0.25, 0.10, 0.08)
GLAUCOMA_SHARE = 0.2
BEADED_GRADES = (3, 4)
MAP = 96  # px of the placement maps


@dataclasses.dataclass(frozen=True)
class Spots:
    """Lesions of one type: centres [n, 2], radii (FOV units), elongations, angles, opacities, each [n]."""

    centres: np.ndarray
    radii: np.ndarray
    elongations: np.ndarray
    angles: np.ndarray
    opacities: np.ndarray


def plan_counts(seed: int, grade: int) -> dict[str, int]:
    """Draws how many of each lesion an eye of this grade has, within GRADE_LESIONS (keys as there)."""
    rng = generator(seed, Stream.LESION_COUNTS)
    counts = {}
    for name, (least, most) in GRADE_LESIONS[grade].items():
        skew = rng.random() ** 1.3  # few more often than many
        counts[name] = least + min(most - least, int(skew * (most - least + 1)))
    return counts


def placement_map(eye: Anatomy, blood: np.ndarray, visible: tuple[float, float]) -> np.ndarray:
    """Marks where a lesion may lie: in the visible field, off the disc, the fovea's centre and vessels.

    Args:
      eye: where disc and fovea are.
      blood: [96, 96] float32 coverage of all vessels, 0..1.
      visible: least and most y inside the frame, FOV units.

    Returns:
      [96, 96] float32: relative probability, 0 where forbidden.
    """
    x, y = canvas.pixel_axes(MAP)
    allowed = (x * x + y * y < 0.90**2) & (y > visible[0] + 0.06) & (y < visible[1] - 0.06)
    allowed &= eye.disc.level(x, y) > 1.35
    allowed &= np.hypot(x - eye.fovea[0], y - eye.fovea[1]) > 0.25 * eye.disc_diameter
    return allowed * (1.0 - 0.95 * np.clip(blood * 1.6, 0.0, 1.0)).astype(np.float32)


def _scatter(
    rng: np.random.Generator,
    weights: np.ndarray,
    radii: np.ndarray,
    gap: float,
    taken: list[tuple[float, float, float]],
    kind: str,
) -> np.ndarray:
    """Places one circle per radius by rejection, apart from those before it; returns [n, 2] centres."""
    placed = []
    others = np.array(taken, dtype=float).reshape(-1, 3)
    cells = rng.choice(weights.size, size=(len(radii), 60), p=(weights / weights.sum()).ravel())
    jitter = rng.random((len(radii), 60, 2))
    spots = (np.stack([cells % MAP, cells // MAP], axis=-1) + jitter) * (2.0 / MAP) - 1.0
    for radius, tries in zip(radii, spots, strict=True):
        distance = np.hypot(*(tries[:, None] - others[None, :, :2]).transpose(2, 0, 1)) - others[:, 2] - radius - gap
        free = np.flatnonzero((distance > 0).all(axis=1))
        if not len(free):
            raise RuntimeError(f"no room for {len(radii)} {kind} after 60 tries each; this is a defect of the drawing.")
        centre = tries[free[0]]
        placed.append(centre)
        others = np.vstack([others, [*centre, radius]])
    return np.array(placed).reshape(-1, 2)


def plan_microaneurysms(seed: int, eye: Anatomy, weights: np.ndarray, count: int) -> Spots:
    """Places microaneurysms: red dots of 1/28 to 1/14 disc diameter, most of them near the macula."""
    rng = generator(seed, Stream.MICROANEURYSMS)
    radii = rng.uniform(0.0062, 0.0105, count)
    centres = _scatter(rng, weights * _near(eye.fovea, 0.42, 0.25), radii, 0.016, [], "microaneurysms")
    return Spots(centres, radii, np.ones(count), np.zeros(count), rng.uniform(0.6, 1.0, count))


def plan_haemorrhages(seed: int, eye: Anatomy, weights: np.ndarray, count: int, per_quadrant: int) -> Spots:
    """Places intraretinal haemorrhages: dots, blots, and flames that follow the nerve fibres.

    The first 4 x per_quadrant go round the four quarters of the photograph in turn.
    """
    rng = generator(seed, Stream.HAEMORRHAGES)
    is_flame = rng.random(count) < 0.3
    radii = np.where(is_flame, rng.uniform(0.016, 0.034, count), 0.010 + 0.028 * rng.random(count) ** 2.2)
    elongations = np.where(is_flame, rng.uniform(2.2, 4.0, count), rng.uniform(1.0, 1.5, count))
    bounds = radii * np.sqrt(elongations) * 1.25
    where = weights * _near(eye.fovea, 0.6, 0.35)
    taken: list[tuple[float, float, float]] = []
    x, y = canvas.pixel_axes(MAP)
    for index in range(count):
        quarter = np.ones_like(where)
        if index < 4 * per_quadrant:
            quarter = ((x > 0) == bool(index % 2)) & ((y > 0) == bool(index // 2 % 2))
        centre = _scatter(rng, where * quarter, bounds[index : index + 1], 0.012, taken, "haemorrhages")[0]
        taken.append((float(centre[0]), float(centre[1]), float(bounds[index])))
    centres = np.array([place[:2] for place in taken]).reshape(-1, 2)
    fibres = np.arctan2(*(centres - np.array(eye.disc.centre)).T[::-1])
    angles = np.where(is_flame, fibres + rng.normal(0, 0.3, count), rng.uniform(0, np.pi, count))
    return Spots(centres, radii, elongations, angles, rng.uniform(0.65, 1.0, count))


def plan_hard_exudates(seed: int, eye: Anatomy, weights: np.ndarray, count: int) -> Spots:
    """Places hard exudates: small waxy deposits in clusters and rings, most near the macula."""
    rng = generator(seed, Stream.HARD_EXUDATES)
    radii = 0.0045 + 0.0125 * rng.random(count) ** 3.0
    groups = 1 + count // 24 + int(rng.integers(0, 3))
    foci = _scatter(rng, weights * _near(eye.fovea, 0.33, 0.06), np.full(groups, 0.05), 0.0, [], "groups of exudates")
    ring = rng.random(groups) < 0.45
    spread = rng.uniform(0.05, 0.16, groups)
    centres = np.empty((count, 2))
    for index in range(count):
        group = int(rng.integers(groups))
        turn = rng.uniform(0, 2 * np.pi, 40)
        reach = spread[group] * (1.0 + 0.12 * rng.normal(size=40) if ring[group] else np.abs(rng.normal(size=40)))
        tries = foci[group] + np.stack([reach * np.cos(turn), reach * np.sin(turn)], axis=1)
        cells = np.clip(((tries + 1.0) * (MAP / 2)).astype(int), 0, MAP - 1)
        free = np.flatnonzero(weights[cells[:, 1], cells[:, 0]] > 0)
        centres[index] = tries[free[0]] if len(free) else foci[group]
    return Spots(
        centres,
        radii,
        rng.uniform(1.0, 2.2, count),
        rng.uniform(0, np.pi, count),
        rng.uniform(0.6, 1.0, count),
    )


def plan_cotton_wool_spots(seed: int, eye: Anatomy, weights: np.ndarray, count: int) -> Spots:
    """Places cotton wool spots: fluffy pale patches within a few disc diameters of the disc."""
    rng = generator(seed, Stream.COTTON_WOOL_SPOTS)
    radii = rng.uniform(0.028, 0.055, count)
    x, y = canvas.pixel_axes(MAP)
    away = np.hypot(x - eye.fovea[0], y - eye.fovea[1]) > 0.8 * eye.disc_diameter
    centres = _scatter(rng, weights * away * _near(eye.disc.centre, 0.6, 0.05), radii, 0.03, [], "cotton wool spots")
    fibres = np.arctan2(*(centres - np.array(eye.disc.centre)).T[::-1])
    return Spots(centres, radii, rng.uniform(1.0, 1.8, count), fibres + np.pi / 2, rng.uniform(0.55, 0.95, count))


def _near(centre: tuple[float, float], spread: float, floor: float) -> np.ndarray:
    x, y = canvas.pixel_axes(MAP)
    squared = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
    return floor + np.exp(-squared / (2 * spread**2))
