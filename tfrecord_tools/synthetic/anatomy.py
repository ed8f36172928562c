"""The eye before any disease: where disc, cup and fovea lie, and their exact outlines.

Lengths are in FOV units (canvas.py). A photograph of the right eye has its optic disc on the right.
"""

import dataclasses
import math

import numpy as np

from tfrecord_tools.synthetic import canvas
from tfrecord_tools.synthetic.streams import Stream, generator

DISC_TO_FOVEA = (2.35, 2.65)  # disc diameters
DISC_DIAMETER = (0.25, 0.30)  # FOV units: about 1/7 of a 45 degree field
HEALTHY_VCDR = (0.40, 0.07, 0.26, 0.54)  # mean, standard deviation, least, most
GLAUCOMA_VCDR = (0.74, 0.06, 0.64, 0.86)


@dataclasses.dataclass(frozen=True)
class Outline:
    """A closed, nearly elliptical curve: `level` is below 1 inside it, 1 on it, above 1 outside.

    Attributes:
      centre: (x, y), FOV units.
      half_width, half_height: semi-axes, FOV units.
      tilt: radians.
      waves: ((order, size, phase), ...), size relative to the radius.
    """

    centre: tuple[float, float]
    half_width: float
    half_height: float
    tilt: float
    waves: tuple[tuple[int, float, float], ...]

    def level(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns distance from the centre over the curve's radius there (float, broadcast of x and y)."""
        dx, dy = x - self.centre[0], y - self.centre[1]
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)  # Python floats keep float32 input in float32
        u, v = (dx * cos + dy * sin) / self.half_width, (dy * cos - dx * sin) / self.half_height
        theta = np.arctan2(v, u)
        radius = 1.0 + sum(size * np.cos(order * theta + phase) for order, size, phase in self.waves)
        return np.hypot(u, v) / radius

    def window(self, size: int, margin: float) -> tuple[slice, slice]:
        """Returns the (rows, columns) of a size x size picture within `margin` semi-axes of the centre."""
        reach = margin * max(self.half_width, self.half_height)
        low = np.floor(canvas.to_pixels(np.array(self.centre) - reach, size)).astype(int)
        high = np.ceil(canvas.to_pixels(np.array(self.centre) + reach, size)).astype(int) + 1
        low, high = np.clip(low, 0, size), np.clip(high, 0, size)
        return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))

    def mask(self, size: int) -> np.ndarray:
        """Returns [size, size] bool, True where a pixel's centre lies inside the curve."""
        rows, columns = self.window(size, 1.3)
        x, y = canvas.pixel_axes(size)
        inside = np.zeros((size, size), dtype=bool)
        inside[rows, columns] = self.level(x[:, columns], y[rows]) < 1.0
        return inside


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """Positions and outlines of one drawn eye.

    Attributes:
      laterality: 'left' or 'right'.
      temporal: +1 when the fovea lies to the right of the disc (left eye), else -1.
      fovea: (x, y), FOV units.
      disc, cup: outlines; the cup lies inside the disc.
      disc_diameter: the disc's height, FOV units (the unit of retinal distances).
      axis: direction from disc to fovea, radians.
    """

    laterality: str
    temporal: int
    fovea: tuple[float, float]
    disc: Outline
    cup: Outline
    disc_diameter: float
    axis: float

    def place(self, temporal: np.ndarray, superior: np.ndarray) -> np.ndarray:
        """Converts disc diameters (towards the fovea, and up from that axis) to [..., 2] FOV units."""
        along = np.array([np.cos(self.axis), np.sin(self.axis)])
        up = np.array([np.sin(self.axis), -np.cos(self.axis)]) * self.temporal
        steps = np.asarray(temporal)[..., None] * along + np.asarray(superior)[..., None] * up
        return np.array(self.disc.centre) + self.disc_diameter * steps


def plan_anatomy(seed: int, glaucoma: bool) -> Anatomy:
    """Chooses the geometry of one eye.

    Args:
      seed: the picture's seed.
      glaucoma: True enlarges the cup (GLAUCOMA_VCDR instead of HEALTHY_VCDR); nothing else changes.

    Returns:
      The anatomy. The whole disc, and the fovea, lie in the part that every shot of camera.py shows.
    """
    rng = generator(seed, Stream.GEOMETRY)
    laterality = "left" if rng.random() < 0.5 else "right"
    temporal = 1 if laterality == "left" else -1
    diameter = float(rng.uniform(*DISC_DIAMETER))
    distance = diameter * float(rng.uniform(*DISC_TO_FOVEA))
    below = np.radians(rng.uniform(1.0, 11.0))  # the fovea lies a little below the disc
    # Most photographs centre on a point between disc and fovea; some on the disc.
    centred_on_disc = rng.random() < 0.12
    share = rng.uniform(0.0, 0.2) if centred_on_disc else rng.uniform(0.58, 0.82)
    offset = np.clip(rng.normal(0.0, 0.05, 2), -0.1, 0.1)
    axis = below if temporal == 1 else np.pi - below
    step = distance * np.array([np.cos(axis), np.sin(axis)])
    disc_centre = offset - share * step
    fovea = disc_centre + step
    disc = _plan_disc(seed, diameter, disc_centre, temporal)
    cup = _plan_cup(seed, disc, glaucoma, temporal)
    return Anatomy(laterality, temporal, (float(fovea[0]), float(fovea[1])), disc, cup, diameter, float(axis))


def _waves(rng: np.random.Generator, size: float) -> tuple[tuple[int, float, float], ...]:
    sizes = np.clip(rng.normal(0.0, size, 3), -2 * size, 2 * size)
    phases = rng.uniform(0.0, 2.0 * np.pi, 3)
    return tuple((order, float(sizes[i]), float(phases[i])) for i, order in enumerate((2, 3, 4)))


def _plan_disc(seed: int, diameter: float, centre: np.ndarray, temporal: int) -> Outline:
    rng = generator(seed, Stream.DISC)
    return Outline(
        centre=(float(centre[0]), float(centre[1])),
        half_width=0.5 * diameter * float(rng.uniform(0.85, 0.98)),
        half_height=0.5 * diameter,
        tilt=temporal * float(np.radians(rng.normal(0.0, 6.0))),
        waves=_waves(rng, 0.012),
    )


def _plan_cup(seed: int, disc: Outline, glaucoma: bool, temporal: int) -> Outline:
    rng = generator(seed, Stream.CUP)
    mean, deviation, least, most = GLAUCOMA_VCDR if glaucoma else HEALTHY_VCDR
    ratio = float(np.clip(mean + deviation * rng.standard_normal(), least, most))
    # An enlarged cup is taller than wide; the rim stays thickest below (the ISNT rule), hence the shift up.
    roundness = float(rng.uniform(0.84, 0.98) if glaucoma else rng.uniform(0.92, 1.06))
    slack = 1.0 - ratio
    shift_x = temporal * disc.half_width * slack * float(rng.uniform(0.0, 0.35))
    shift_y = -disc.half_height * slack * float(rng.uniform(0.0, 0.2))
    return Outline(
        centre=(disc.centre[0] + shift_x, disc.centre[1] + shift_y),
        half_width=disc.half_width * ratio * roundness,
        half_height=disc.half_height * ratio,
        tilt=disc.tilt,
        waves=_waves(rng, 0.015),
    )
