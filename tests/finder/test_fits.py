"""Fits against known rims and against NumPy's least squares."""

from __future__ import annotations

import numpy as np
import pytest

from dr_edge.finder import fits

SCALES = tuple(np.geomspace(0.06, 0.01, 6))


def on_rim(rng: np.random.Generator, x: float, y: float, radius: float, aspect: float, noise: float, arc: float):
    angle = rng.uniform(0, 2 * np.pi) + rng.uniform(0, arc, 256)
    points = np.stack([x + radius * aspect * np.cos(angle), y + radius * np.sin(angle)], axis=-1)
    return points + rng.normal(0, noise, points.shape)


def fitted(points: np.ndarray, circle: bool, scales=SCALES):
    products = fits.products_of(fits.features_of(points.astype(np.float32)))
    flag = np.array([1.0 if circle else 0.0], np.float32)
    weights = np.ones((1, len(points)), np.float32)
    rims = fits.to_rims(fits.fit(products, weights, fits.stiffness(flag[:, None]), scales), flag)
    return [float(value[0]) for value in rims]


@pytest.mark.parametrize("seed", range(8))
def test_plain_fits_are_least_squares(seed):
    rng = np.random.default_rng(seed)
    points = on_rim(rng, 0.03, -0.05, 0.4, 0.8, 0.004, 2 * np.pi)
    x, y = points.T
    columns = np.stack([x * x, x, y, np.ones_like(x)], axis=1)
    a, b, c, d = np.linalg.lstsq(columns, y * y, rcond=None)[0]
    middle = -b / (2 * a), c / 2
    radius = np.sqrt(d + middle[1] ** 2 - a * middle[0] ** 2)
    np.testing.assert_allclose(fitted(points, False, ()), [*middle, radius, 1 / np.sqrt(-a)], rtol=2e-3, atol=2e-4)
    b, c, d = np.linalg.lstsq(columns[:, 1:], x * x + y * y, rcond=None)[0]
    expected = [b / 2, c / 2, np.sqrt(d + b * b / 4 + c * c / 4), 1]
    np.testing.assert_allclose(fitted(points, True, ()), expected, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("circle", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_strangers_move_no_rim(seed, circle):
    rng = np.random.default_rng(seed)
    true = [rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), rng.uniform(0.25, 0.5), 1 if circle else 0.75]
    points = on_rim(rng, *true, noise=0.001, arc=2 * np.pi)
    if circle:
        points[:50] = rng.uniform(-0.5, 0.5, (50, 2))
    else:  # an ellipse bends farther: a shadow that eats the rim, and text nearby
        points[:30] *= rng.uniform(0.85, 1.15, (30, 1))
    np.testing.assert_allclose(fitted(points, circle), true, atol=0.006)


def test_points_without_a_rim_give_finite_numbers():
    for points in (np.zeros((256, 2)), np.linspace(-0.5, 0.5, 512).reshape(256, 2), np.full((256, 2), 0.3)):
        for circle in (True, False):
            assert np.isfinite(fitted(points, circle)).all()


def test_equations_of_rims_and_back():
    rims = fits.Rims(*(np.float32([v]) for v in (0.1, -0.2, 0.4, 0.7)))
    back = fits.to_rims(fits.to_fitted(rims), np.zeros((1, 1), np.float32))
    np.testing.assert_allclose([float(v[0, 0]) for v in back], [0.1, -0.2, 0.4, 0.7], rtol=1e-4)
