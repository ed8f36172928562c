"""The square that everything is drawn on, and how shapes become coverage planes.

Positions and lengths are in *FOV units*: the field of view is the unit circle round (0, 0), x to the right,
y down. A picture of any size is therefore the same picture. Shapes are filled on a finer layer and then
reduced by area, which gives thin vessels and small lesions their sub-pixel width.
"""

import cv2
import numpy as np

SHIFT = 4  # fixed-point bits of OpenCV's sub-pixel coordinates


def to_pixels(points: np.ndarray, size: int) -> np.ndarray:
    """Converts FOV units to pixel coordinates (pixel centres are whole numbers).

    Args:
      points: [..., 2] float, FOV units (x, y).
      size: px across the FOV.

    Returns:
      [..., 2] float, px in the size x size square.
    """
    return (np.asarray(points) + 1.0) * (size / 2.0) - 0.5


def pixel_axes(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pixel centres in FOV units: x [1, size] and y [size, 1], float32."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0).astype(np.float32)
    return axis[None, :], axis[:, None]


def bell(exponent: np.ndarray) -> np.ndarray:
    """Returns exp(-exponent) for exponent >= 0, floored at 1e-17 (denormal numbers are slow)."""
    return np.exp(-np.minimum(exponent, np.float32(40.0)))


def smooth_noise(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """Draws band-limited noise: `cells` x `cells` normal values, resized to [size, size] float32.

    Which values are drawn depends on `cells` only, so the pattern is the same at every size.
    """
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def new_layer(size: int) -> np.ndarray:
    """Returns an empty fine layer, [n, n] uint8, n a small multiple of the picture's size."""
    fine = size * (2 if size >= 400 else 4)  # thin vessels need it fine; a large picture is so by itself
    return np.zeros((fine, fine), np.uint8)


def to_fixed(points: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """Converts [..., 2] FOV units to the fixed-point pixels (int32) that OpenCV draws with on this layer."""
    return np.round(to_pixels(points, layer.shape[0]) * (1 << SHIFT)).astype(np.int32)


def reduce_layer(layer: np.ndarray, size: int, blur: float = 0.0) -> np.ndarray:
    """Turns a fine layer into its coverage.

    Args:
      layer: from new_layer.
      size: px of the result.
      blur: standard deviation of a Gaussian that softens the edges, px of the result; 0 leaves them.

    Returns:
      [size, size] float32 in 0..1.
    """
    reduced = cv2.resize(layer, (size, size), interpolation=cv2.INTER_AREA)
    if blur > 0.0:
        reduced = cv2.GaussianBlur(reduced, (0, 0), blur)  # in 8 bits: several times faster than in float
    coverage = reduced.astype(np.float32)
    coverage *= np.float32(1.0 / 255.0)
    return coverage


def reduce_mask(layer: np.ndarray, size: int) -> np.ndarray:
    """Returns [size, size] bool: pixels that the non-zero part of a fine layer covers by half or more."""
    solid = cv2.threshold(layer, 0, 255, cv2.THRESH_BINARY)[1]
    return cv2.resize(solid, (size, size), interpolation=cv2.INTER_AREA) >= 128


def fill_polygons(layer: np.ndarray, polygons: np.ndarray, opacities: np.ndarray) -> None:
    """Fills closed polygons into a fine layer, the most opaque last, so that it wins where two overlap.

    Args:
      layer: from new_layer, changed in place.
      polygons: [n, k, 2] float, FOV units.
      opacities: [n] float, 0..1.
    """
    fixed = to_fixed(polygons, layer)
    levels = np.clip(np.round(np.asarray(opacities) * 255.0), 1, 255).astype(int)
    for level in np.unique(levels):
        cv2.fillPoly(layer, list(fixed[levels == level]), int(level), lineType=cv2.LINE_8, shift=SHIFT)


def stroke(layer: np.ndarray, paths: list[np.ndarray], thickness: int, opacity: float) -> None:
    """Draws open lines of one thickness into a fine layer.

    Args:
      layer: from new_layer, changed in place.
      paths: list of [k, 2] int32, from to_fixed.
      thickness: fine px, >= 1.
      opacity: 0..1.
    """
    if paths:
        cv2.polylines(
            layer,
            paths,
            False,
            round(opacity * 255),
            thickness=thickness,
            lineType=cv2.LINE_8,
            shift=SHIFT,
        )


def blobs(
    rng: np.random.Generator,
    centres: np.ndarray,
    radii: np.ndarray,
    elongations: np.ndarray,
    angles: np.ndarray,
    roughness: float,
    vertices: int = 28,
) -> np.ndarray:
    """Draws irregular closed outlines: ellipses whose radius carries a few random waves.

    Args:
      rng: the stream to draw the waves from.
      centres: [n, 2] float, FOV units.
      radii: [n] float, FOV units (of the circle of equal area, about).
      elongations: [n] float >= 1, length over width.
      angles: [n] float, radians, direction of the long axis.
      roughness: size of the waves relative to the radius, 0..0.5.
      vertices: corners of each outline.

    Returns:
      [n, vertices, 2] float, FOV units.
    """
    n = len(centres)
    theta = np.linspace(0.0, 2.0 * np.pi, vertices, endpoint=False)
    waves = np.arange(2, 6)
    sizes = rng.normal(0.0, roughness, (n, len(waves))) / np.sqrt(waves)
    phases = rng.uniform(0.0, 2.0 * np.pi, (n, len(waves)))
    ripple = 1.0 + np.einsum("nk,nkv->nv", sizes, np.cos(waves[None, :, None] * theta + phases[:, :, None]))
    radius = np.asarray(radii)[:, None] * np.clip(ripple, 0.45, 1.7)
    stretch = np.sqrt(np.asarray(elongations))[:, None]
    along, across = radius * np.cos(theta) * stretch, radius * np.sin(theta) / stretch
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    outline = np.stack([along * cos - across * sin, along * sin + across * cos], axis=-1)
    return outline + np.asarray(centres)[:, None, :]
