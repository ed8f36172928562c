"""Draws planned lesions: their masks, and their colour on the retina."""

import cv2
import numpy as np

from tfrecord_tools.synthetic import canvas
from tfrecord_tools.synthetic.anatomy import Anatomy
from tfrecord_tools.synthetic.lesions import Spots
from tfrecord_tools.synthetic.streams import Stream, generator

_MICROANEURYSM = (0.30, 0.62, 0.55)  # share of red, green, blue that blood takes away
_HAEMORRHAGE = (0.36, 0.70, 0.62)
_PRERETINAL = (0.40, 0.78, 0.70)
_NEW_VESSEL = (0.22, 0.58, 0.50)
_EXUDATE, _COTTON_WOOL = (1.03, 0.86, 0.50), (1.02, 0.87, 0.70)


def _cover(shapes: np.ndarray, opacities: np.ndarray, size: int, blur: float) -> tuple[np.ndarray, np.ndarray]:
    """Fills shapes; returns their softened opacity, [size, size] float32, and mask, bool (half covered)."""
    layer = canvas.new_layer(size)
    canvas.fill_polygons(layer, shapes, opacities)
    opacity, mask = canvas.reduce_layer(layer, size, blur), canvas.reduce_mask(layer, size)
    centres = np.clip(np.round(canvas.to_pixels(shapes.mean(axis=1), size)).astype(int), 0, size - 1)
    mask[centres[:, 1], centres[:, 0]] = True  # the smallest lesion still owns a pixel
    return opacity, mask


def _absorb(planes: list[np.ndarray], cover: np.ndarray, shares: tuple[float, float, float]) -> None:
    for plane, share in zip(planes, shares, strict=True):
        plane *= 1.0 - np.float32(share) * cover


def _veil(planes: list[np.ndarray], cover: np.ndarray, colour: tuple[float, float, float]) -> None:
    for plane, tint in zip(planes, colour, strict=True):
        plane += cover * (np.float32(tint) - plane)


def paint_microaneurysms(seed: int, spots: Spots, planes: list[np.ndarray]) -> np.ndarray:
    """Paints red dots into the planes; returns their mask, [size, size] bool."""
    return _paint_blood(seed, Stream.MICROANEURYSMS, spots, planes, _MICROANEURYSM, 0.06, 0.0012)


def paint_haemorrhages(seed: int, spots: Spots, planes: list[np.ndarray]) -> np.ndarray:
    """Paints dots, blots and flames into the planes; returns their mask, [size, size] bool."""
    return _paint_blood(seed, Stream.HAEMORRHAGES, spots, planes, _HAEMORRHAGE, 0.13, 0.0030)


def _paint_blood(
    seed: int,
    stream: Stream,
    spots: Spots,
    planes: list[np.ndarray],
    shares: tuple[float, float, float],
    roughness: float,
    blur: float,
) -> np.ndarray:
    size = planes[0].shape[0]
    if not len(spots.radii):
        return np.zeros((size, size), dtype=bool)
    rng = generator(seed, stream).spawn(1)[0]  # shapes have numbers of their own, apart from the places
    shapes = canvas.blobs(rng, spots.centres, spots.radii, spots.elongations, spots.angles, roughness)
    cover, mask = _cover(shapes, spots.opacities, size, max(0.4, size * blur))
    _absorb(planes, cover, shares)
    return mask


def paint_hard_exudates(seed: int, spots: Spots, planes: list[np.ndarray]) -> np.ndarray:
    """Paints sharp waxy deposits into the planes; returns their mask, [size, size] bool."""
    size = planes[0].shape[0]
    if not len(spots.radii):
        return np.zeros((size, size), dtype=bool)
    rng = generator(seed, Stream.HARD_EXUDATES).spawn(1)[0]
    shapes = canvas.blobs(rng, spots.centres, spots.radii, spots.elongations, spots.angles, 0.27)
    cover, mask = _cover(shapes, spots.opacities, size, max(0.3, size * 0.0009))
    _veil(planes, cover, _EXUDATE)
    return mask


def paint_cotton_wool_spots(seed: int, spots: Spots, planes: list[np.ndarray]) -> np.ndarray:
    """Paints fluffy pale patches into the planes; returns their mask, [size, size] bool."""
    size = planes[0].shape[0]
    if not len(spots.radii):
        return np.zeros((size, size), dtype=bool)
    rng = generator(seed, Stream.COTTON_WOOL_SPOTS).spawn(1)[0]
    shapes = canvas.blobs(rng, spots.centres, spots.radii, spots.elongations, spots.angles, 0.22)
    cover, mask = _cover(shapes, spots.opacities, size, size * 0.0065)
    fluff = 0.85 + 0.2 * canvas.smooth_noise(rng, 110, size)
    _veil(planes, np.clip(cover * fluff, 0.0, 0.92), _COTTON_WOOL)
    return mask


def paint_neovascularisation(
    seed: int, eye: Anatomy, weights: np.ndarray, count: int, planes: list[np.ndarray]
) -> np.ndarray:
    """Paints tangles of fine new vessels, on the disc or elsewhere; returns their mask, [size, size] bool.

    Args:
      seed: the picture's seed.
      eye: where the disc is.
      weights: placement map of lesions.placement_map.
      count: number of tangles.
      planes: red, green, blue, changed in place.
    """
    size = planes[0].shape[0]
    if not count:
        return np.zeros((size, size), dtype=bool)
    rng = generator(seed, Stream.NEOVASCULARISATION)
    layer = canvas.new_layer(size)
    side = weights.shape[0]
    for index in range(count):
        on_disc = rng.random() < 0.45 and index == 0
        if on_disc:
            origin = np.array(eye.disc.centre) + rng.normal(0, 0.25, 2) * eye.disc.half_width
        else:
            cell = int(rng.choice(weights.size, p=(weights / weights.sum()).ravel()))
            origin = (np.array([cell % side, cell // side]) + 0.5) * (2.0 / side) - 1.0
        strands = canvas.to_fixed(_tangle(rng, origin, rng.uniform(0.09, 0.16)), layer)
        canvas.stroke(layer, list(strands), max(1, round(0.0042 * layer.shape[0] / 2)), 0.85)
    cover = canvas.reduce_layer(layer, size, size * 0.0011)
    reach = max(3, round(0.012 * layer.shape[0] / 2))
    mesh = cv2.morphologyEx(layer, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))  # narrow gaps belong to it
    mask = canvas.reduce_mask(mesh, size)
    cover += 0.9 * canvas.reduce_layer(layer, size, size * 0.006)  # the leaking mesh reddens its ground
    _absorb(planes, np.minimum(cover, np.float32(1.0)), _NEW_VESSEL)
    return mask


def _tangle(rng: np.random.Generator, origin: np.ndarray, reach: float) -> np.ndarray:
    """Draws one tuft's looping strands, [strands, 30, 2] FOV units: arcs that leave, turn and come back."""
    strands = []
    t = np.linspace(0.0, 1.0, 30)
    for _ in range(int(rng.integers(12, 20))):
        start = origin + rng.normal(0, 0.33 * reach, 2)
        turn = rng.choice([-1.0, 1.0]) * rng.uniform(1.5, 5.5)
        heading = rng.uniform(0, 2 * np.pi) + turn * t + np.cumsum(rng.normal(0, 0.16, 30))
        steps = reach * rng.uniform(0.5, 1.5) / 30 * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        strands.append(start + np.cumsum(steps, axis=0))
    return np.stack(strands)


def paint_preretinal(seed: int, eye: Anatomy, weights: np.ndarray, planes: list[np.ndarray]) -> np.ndarray:
    """Paints a boat-shaped pool of blood, level on top; returns its mask, [size, size] bool."""
    size = planes[0].shape[0]
    rng = generator(seed, Stream.PRERETINAL)
    side = weights.shape[0]
    cell = int(rng.choice(weights.size, p=(weights / weights.sum()).ravel()))
    origin = (np.array([cell % side, cell // side]) + 0.5) * (2.0 / side) - 1.0
    half_width, depth = rng.uniform(0.09, 0.17), rng.uniform(0.07, 0.13)
    theta = np.linspace(0.0, 2 * np.pi, 48, endpoint=False)
    height = np.where(np.sin(theta) > 0, depth, 0.22 * depth) * np.sin(theta)  # nearly level above
    keel = np.stack([half_width * np.cos(theta), height], axis=1)
    ripple = 1.0 + 0.06 * np.sin(3 * theta + rng.uniform(0, 6)) + 0.05 * np.sin(5 * theta + rng.uniform(0, 6))
    boat = origin + keel * ripple[:, None] - np.array([0.0, depth / 2])
    cover, mask = _cover(boat[None], np.array([0.97]), size, size * 0.0045)
    cover *= np.clip(0.92 + 0.07 * canvas.smooth_noise(rng, 24, size), 0.0, 1.0)
    _absorb(planes, cover, _PRERETINAL)
    return mask
