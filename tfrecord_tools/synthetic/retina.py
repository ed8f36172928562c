"""The healthy retina in colour: pigment, choroid, macula, disc, vessels, and spots that mimic lesions."""

import cv2
import numpy as np

from tfrecord_tools.synthetic import canvas
from tfrecord_tools.synthetic.anatomy import Anatomy, Outline
from tfrecord_tools.synthetic.streams import Stream, generator
from tfrecord_tools.synthetic.vessels import VesselLayers

_LIGHT_FUNDUS = np.array([0.84, 0.47, 0.22])
_DARK_FUNDUS = np.array([0.68, 0.30, 0.125])
_RIM, _CUP = np.array([1.06, 0.57, 0.31]), np.array([1.14, 0.86, 0.58])
_VEIN_ABSORPTION, _ARTERY_ABSORPTION = (0.27, 0.58, 0.48), (0.09, 0.42, 0.36)
_REFLEX = (0.14, 0.20, 0.18)
_COARSE = 256  # px on which slow patterns are computed


def paint_background(seed: int, eye: Anatomy, size: int) -> list[np.ndarray]:
    """Paints pigment, choroid and macula.

    Args:
      seed: the picture's seed.
      eye: where disc and fovea are.
      size: px across the FOV.

    Returns:
      Red, green, blue reflectance, each [size, size] float32, about 0..1.
    """
    rng = generator(seed, Stream.TEXTURE)
    colour = generator(seed, Stream.COLOUR)
    pigment = colour.uniform(0.0, 1.0)
    base = _LIGHT_FUNDUS * (1 - pigment) + _DARK_FUNDUS * pigment
    base = base * (1.0 + colour.normal(0.0, [0.03, 0.05, 0.09]))
    tessellation = float(np.clip(colour.normal(0.10, 0.14), 0.02, 0.36))
    mottle = _mottle(rng, _COARSE)
    choroid = _choroid(rng, eye, _COARSE)
    hue = canvas.smooth_noise(rng, 6, _COARSE)
    macula, pit = _macula(colour, eye, _COARSE)
    patchy = np.clip(0.65 + 0.35 * canvas.smooth_noise(rng, 5, _COARSE), 0.0, 1.2)
    interspace = (1.0 - choroid) * (1.0 - 0.8 * macula) * patchy * tessellation
    planes = []
    # Interspaces are dark in green and blue above all; the macular pigment takes blue and green.
    shares = ((0.55, 0.015, 0.22), (0.95, -0.02, 0.36), (0.85, -0.04, 0.42))
    for tint, (absorb, shift, yellow) in zip(base, shares, strict=True):
        field = (1.0 + mottle) * (1.0 - absorb * interspace) * (1.0 + shift * hue)
        field *= (1.0 - yellow * macula) * (1.0 - 0.8 * yellow * pit)
        field = (tint * field).astype(np.float32)
        planes.append(cv2.resize(field, (size, size), interpolation=cv2.INTER_LINEAR))
    grain = 1.0 + 0.022 * canvas.smooth_noise(rng, 190, size)
    for plane in planes:
        plane *= grain
    return planes


def _mottle(rng: np.random.Generator, size: int) -> np.ndarray:
    octaves = ((4, 0.045), (11, 0.028), (34, 0.018), (90, 0.014))
    mottle = np.zeros((size, size), np.float32)
    for cells, amount in octaves:
        mottle += np.float32(amount) * canvas.smooth_noise(rng, cells, size)
    return mottle


def _choroid(rng: np.random.Generator, eye: Anatomy, size: int) -> np.ndarray:
    """Draws choroidal vessels, which run away from the disc: [size, size] float32, 1 on one, 0 between."""
    x, y = canvas.pixel_axes(size)
    warp = canvas.smooth_noise(rng, 9, size)
    dx = x - np.float32(eye.disc.centre[0]) + np.float32(0.05) * warp
    dy = y - np.float32(eye.disc.centre[1]) + np.float32(0.05) * canvas.smooth_noise(rng, 9, size)
    radius, angle = cv2.cartToPolar(dx, dy)
    spokes = 84
    polar = rng.standard_normal((14, spokes), dtype=np.float32)
    streaks = cv2.remap(
        polar,
        angle * np.float32(spokes / (2 * np.pi)),
        radius * np.float32(4.5) + np.float32(0.6) * warp,
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_WRAP,
    )
    # Zero crossings of smooth noise run as winding lines; two nets together break the regular mesh of one.
    first = canvas.bell(((0.8 * streaks + 0.5 * canvas.smooth_noise(rng, 26, size)) / 0.5) ** 2)
    second = canvas.bell((canvas.smooth_noise(rng, 38, size) / 0.55) ** 2)
    return cv2.GaussianBlur(np.clip(0.75 * first + 0.45 * second, 0.0, 1.0), (0, 0), size * 0.0035)


def _macula(rng: np.random.Generator, eye: Anatomy, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the macula's broad darkening and the fovea's own, each [size, size] float32 in 0..1."""
    x, y = canvas.pixel_axes(size)
    unit = eye.disc_diameter
    dx, dy = x - np.float32(eye.fovea[0]), y - np.float32(eye.fovea[1])
    distance = dx * dx * np.float32(0.9) + dy * dy
    broad = canvas.bell(distance / np.float32(2 * (unit * rng.uniform(0.55, 0.8)) ** 2))
    pit = canvas.bell(distance / np.float32(2 * (unit * rng.uniform(0.18, 0.27)) ** 2))
    return broad * np.float32(rng.uniform(0.75, 1.15)), pit * np.float32(rng.uniform(0.6, 1.1))


def paint_disc(seed: int, eye: Anatomy, planes: list[np.ndarray]) -> None:
    """Paints the nerve fibres' sheen, the crescent beside the disc, the rim and the paler cup."""
    size = planes[0].shape[0]
    rng = generator(seed, Stream.DISC_COLOUR)
    _paint_sheen(rng, eye, planes)
    rows, columns = eye.disc.window(size, 1.8)
    x, y = canvas.pixel_axes(size)
    x, y = x[:, columns], y[rows]
    level, cup_level = eye.disc.level(x, y), eye.cup.level(x, y)
    crescent = _crescent(rng, eye, x, level)
    nasal = np.clip(-(x - eye.disc.centre[0]) * eye.temporal / eye.disc.half_width, -1, 1)
    softness = rng.uniform(0.05, 0.09) * (1.0 + 0.6 * nasal)  # nerve fibres blur the nasal edge
    inside = _step(1.0 - level, softness)
    cup_soft = rng.uniform(0.09, 0.2) * eye.disc.half_height / eye.cup.half_height * 0.5
    hollow = _step(1.0 - cup_level, cup_soft)
    border = canvas.bell(((level - 1.02) / 0.07) ** 2) * rng.uniform(0.0, 0.22)
    pallor, brightness = rng.uniform(-0.1, 0.18), rng.uniform(0.84, 1.0)
    lamina = 1.0 + 0.025 * canvas.smooth_noise(rng, 150, size)[rows, columns]
    for plane, rim, cup, bare, least in zip(planes, _RIM, _CUP, (0.95, 0.72, 0.45), (1.12, 1.45, 1.6), strict=True):
        area = plane[rows, columns]
        brighten = max(1.0, least * float(area.mean()) / rim)  # a pale fundus has a paler disc still
        rim, cup = rim * brighten, cup * brighten
        area += crescent * (bare * 0.9 - area)
        area *= 1.0 - border
        tissue = (rim + pallor * (cup - rim)) * (1.0 - 0.13 * nasal) * brightness
        tissue = tissue + hollow * (cup * brightness * lamina - tissue)
        area += 0.95 * inside * (tissue - area)


def _step(depth: np.ndarray, softness: np.ndarray | float) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(depth / softness * 2.2, -30, 30)))


def _crescent(rng: np.random.Generator, eye: Anatomy, x: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Returns the strength of a pale atrophic crescent at the temporal rim; most eyes have none."""
    present, width, strength = rng.random() < 0.3, rng.uniform(0.08, 0.3), rng.uniform(0.25, 0.6)
    if not present:
        return np.zeros_like(level)
    facing = np.clip((x - eye.disc.centre[0]) * eye.temporal / eye.disc.half_width, 0, 1)
    return strength * _step(1.0 + width * facing - level, 0.05) * np.clip(facing * 1.6, 0, 1)


def _paint_sheen(rng: np.random.Generator, eye: Anatomy, planes: list[np.ndarray]) -> None:
    """Adds the shine of thick nerve fibres above and below the disc, and the disc's own glow."""
    strength, glow = rng.uniform(0.0, 0.14), rng.uniform(0.02, 0.22)
    x, y = canvas.pixel_axes(_COARSE)
    sheen: np.ndarray = np.zeros((_COARSE, _COARSE), np.float32)
    for superior in (1.0, -1.0):
        centre = eye.place(np.array(0.35), np.array(superior * 0.95))
        spread = 2 * (0.62 * eye.disc_diameter) ** 2
        squared = (x - np.float32(centre[0])) ** 2 * 1.5 + (y - np.float32(centre[1])) ** 2
        sheen += canvas.bell(squared / np.float32(spread))
    dx, dy = x - np.float32(eye.disc.centre[0]), y - np.float32(eye.disc.centre[1])
    halo = canvas.bell((dx * dx + dy * dy) / np.float32(2 * (0.85 * eye.disc_diameter) ** 2))
    sheen = np.float32(strength) * sheen + np.float32(glow) * halo
    size = planes[0].shape[0]
    sheen = cv2.resize(sheen, (size, size), interpolation=cv2.INTER_LINEAR)
    for plane, share in zip(planes, (0.7, 0.9, 0.8), strict=True):
        plane *= 1.0 + share * sheen


def paint_vessels(seed: int, eye: Anatomy, layers: VesselLayers, planes: list[np.ndarray]) -> None:
    """Darkens the planes by the blood of arteries and veins and adds the light streak of the wide ones."""
    rows, columns = eye.disc.window(planes[0].shape[0], 1.2)
    x, y = canvas.pixel_axes(planes[0].shape[0])
    on_disc = _step(1.0 - eye.disc.level(x[:, columns], y[rows]), 0.1)
    contrast = generator(seed, Stream.VESSEL_COLOUR).uniform(0.75, 1.1)
    for index, plane in enumerate(planes):
        seen = 1.0 - np.float32(contrast * _ARTERY_ABSORPTION[index]) * layers.arteries
        seen *= 1.0 - np.float32(contrast * _VEIN_ABSORPTION[index]) * layers.veins
        seen *= 1.0 + np.float32(contrast * _REFLEX[index]) * layers.reflex
        seen[rows, columns] += (0.28 * on_disc) * (1.0 - seen[rows, columns])  # the disc shines through
        plane *= seen


def paint_mimics(seed: int, eye: Anatomy, planes: list[np.ndarray]) -> None:
    """Paints what a model must not take for retinopathy, at any grade alike: drusen, a naevus, pigment."""
    size = planes[0].shape[0]
    rng = generator(seed, Stream.MIMICS)
    has_drusen, has_naevus, has_pigment = rng.random(3) < (0.22, 0.06, 0.15)
    count = int(rng.integers(5, 26))
    spread = rng.normal(0.0, 0.9, (count, 2))
    radii = rng.uniform(0.006, 0.016, count)
    if has_drusen:
        centres = eye.place(np.hypot(*_axis_span(eye)) + spread[:, 0], spread[:, 1])
        shapes = canvas.blobs(rng, centres, radii, np.ones(count), np.zeros(count), 0.1)
        cover = _soft_layer(shapes, rng.uniform(0.35, 0.75, count), size, 0.0035)
        for plane, colour in zip(planes, (0.92, 0.66, 0.34), strict=True):
            plane += cover * (colour - plane)
    place = rng.uniform(-0.7, 0.7, (1, 2))
    if has_naevus:
        radius, angle = rng.uniform(0.07, 0.13, 1), rng.uniform(0, 3, 1)
        shapes = canvas.blobs(rng, place, radius, np.array([1.3]), angle, 0.08)
        cover = _soft_layer(shapes, np.array([0.5]), size, 0.009)
        for plane, absorb in zip(planes, (0.55, 0.4, 0.15), strict=True):
            plane *= 1.0 - absorb * cover
    specks = rng.uniform(-0.9, 0.9, (int(rng.integers(1, 6)), 2))
    if has_pigment:
        n = len(specks)
        radii, angles = rng.uniform(0.006, 0.014, n), rng.uniform(0, 3, n)
        shapes = canvas.blobs(rng, specks, radii, np.full(n, 1.4), angles, 0.2)
        cover = _soft_layer(shapes, rng.uniform(0.5, 0.8, n), size, 0.002)
        for plane, absorb in zip(planes, (0.65, 0.55, 0.35), strict=True):  # brown-black, not red
            plane *= 1.0 - absorb * cover


def _axis_span(eye: Anatomy) -> tuple[float, float]:
    unit = eye.disc_diameter
    return (eye.fovea[0] - eye.disc.centre[0]) / unit, (eye.fovea[1] - eye.disc.centre[1]) / unit


def _soft_layer(shapes: np.ndarray, opacities: np.ndarray, size: int, blur: float) -> np.ndarray:
    layer = canvas.new_layer(size)
    canvas.fill_polygons(layer, shapes, opacities)
    return canvas.reduce_layer(layer, size, size * blur)


def outline_masks(eye: Anatomy, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the masks of disc and cup, each [size, size] bool; the cup lies within the disc."""
    disc = _filled(eye.disc, size)
    return disc, _filled(eye.cup, size) & disc


def _filled(outline: Outline, size: int) -> np.ndarray:
    mask = outline.mask(size)
    if not mask.any():
        raise ValueError(f"size={size} px is too small to hold the optic disc or cup. Use a larger size.")
    return mask
