"""The quality of a crop inside a network: the in-graph twin of `quality` in quality.py, for deployed models.

It measures on a copy of 112 to 223 pixels (128 for most sizes) where the reference takes 256, with filters of the same
width on the retina: what the coarser copy blurs by itself is left out of them. Pooling, small convolutions, one linear
resize and element-wise arithmetic on static shapes; no Flex operations, no control flow.

Pictures stand as [B, rows, planes, columns]: with columns and planes side by side a blur along the rows fills the lanes
of a CPU's vector unit, which one channel would not.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from dr_edge.framework import keras, ops
from dr_edge.fundus.crop import disc_mask
from dr_edge.fundus.graham import LUMINANCE
from dr_edge.fundus.quality import CONSTANTS, LEAST_SIZE

NAMES = ("score", "focus", "contrast", "illumination", "fov_fraction", "colour")  # of the output, in its order
_LEAST_SIDE = 112  # of the copy
_STEEP = 16.0  # slope of a threshold per grey level: exact on all but a sixteenth of one
_STEEPEST = 60000.0  # more would overflow in float16
_LEVELS = 24  # grey levels between which the median brightness is interpolated
_MEDIAN_CELL = 8  # side in pixels of the squares whose brightness it is the median of
# Measured on 330 photographs at seven sizes, in the reference's pixels of its copy:
_RESAMPLED = 0.075  # variance that the reference's resizing adds where the sizes are no multiples
_LOST = 6.0  # energy of the detail that averaging loses, for a variance of 1, to what the narrow blur loses of the rest
_LINEAR = np.array([0.25, 0.5, 0.25], np.float32)  # makes of repeated rows linearly interpolated ones
_TINY = 1e-6


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a crop of a size is reduced.

    Attributes:
      start: rows and columns left out at the top and left, so that the rest divides evenly.
      pool: side in pixels of the squares whose average is a pixel of the copy.
      side: of the copy; even.
      scale: pixels of the reference's 256 per pixel of the copy.
      averaged: variance that the copy's pixels have averaged over beyond the reference's, in the reference's pixels.
    """

    start: int
    pool: int
    side: int
    scale: float
    averaged: float


def plan(size: int) -> Plan:
    """Returns how a crop of `size` pixels is reduced; one that is smaller than any copy is enlarged to 128."""
    whole = CONSTANTS["side"]
    if size < _LEAST_SIDE:
        return Plan(0, 1, whole // 2, 2.0, (2**2 - 1) / 12)
    pool = size // _LEAST_SIDE
    side, scale = size // (2 * pool) * 2, whole * pool / size
    averaged = (scale**2 - max(1.0, whole / size) ** 2) / 12
    if max(size, whole) % min(size, whole):
        averaged -= _RESAMPLED
    return Plan((size - side * pool) // 2, pool, side, scale, averaged)


@keras.saving.register_keras_serializable(package="dr_edge")
class PhotographQuality(keras.layers.Layer):
    """Maps a raw square crop, [B, S, S, 3] float32 0..255, to its quality, [B, 6] float32 0..1, in the order of NAMES.

    The layer has no weights. S must be known when the layer is built, and be at least quality.LEAST_SIZE.

    Args:
      side_by_side: blur with all columns as channels, which is fast on CPUs. Graphs whose large kernels a converter
        would round, or that are laid out for a server, want False. The result is the same.
    """

    def __init__(self, side_by_side: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.side_by_side = bool(side_by_side)
        self.trainable = False

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        size = input_shape[1] if len(input_shape) == 4 else None
        if size is None or tuple(input_shape[1:]) != (size, size, 3) or size < LEAST_SIZE:
            raise ValueError(f"Quality needs crops [B, S, S, 3], S known and >= {LEAST_SIZE}. Received: {input_shape}.")
        self._size, self._plan = size, plan(size)
        scale, averaged = self._plan.scale, self._plan.averaged
        self._disc = disc_mask(self._plan.side, CONSTANTS["disc"]).astype(np.float32)[None, :, None]
        self._smooth = gaussian(2.0 - averaged, scale)  # as wide as the reference's average of 5 x 5
        self._bands = [gaussian(sigma**2 - averaged, scale) for sigma in CONSTANTS["fine_sigmas"]]
        self._lost = _LOST * max(averaged, 0.0)
        self._around = gaussian((4 * CONSTANTS["around_sigma"]) ** 2 + (4**2 - (2 * scale) ** 2) / 6, 2 * scale)
        reach = CONSTANTS["rim"] / (2 * scale)
        offset = np.arange(-math.ceil(reach), math.ceil(reach) + 1)
        near = offset[:, None] ** 2 + offset[None, :] ** 2 <= (reach + 0.25) ** 2
        self._near = near.astype(np.float32)[:, :, None, None]
        self._levels = np.geomspace(CONSTANTS["lit"] + 0.5, 255.0, _LEVELS, dtype=np.float32)
        super().build(input_shape)

    def call(self, crop: Any) -> Any:
        copy = ops.transpose(self._reduced(ops.cast(crop, "float32")), (0, 1, 3, 2))  # [B, s, 3, s]
        smooth = self._blur(copy, [self._smooth] * 3)  # as all that comes of it: rows and columns exchanged
        brightness = _across(smooth, ops.maximum)  # [B, s, 1, s]
        lit = _above(brightness, CONSTANTS["lit"] + 0.5) * self._disc
        whole = float(self._disc.mean())
        fov_fraction = _mean(lit) * (1 / whole)
        inside = self._inside(brightness, lit)  # [B, s / 2, 1, s / 2]
        share = _mean(inside)
        some = _above(share, CONSTANTS["least_inside"] * whole, _STEEPEST)
        fine, detail, colour = self._detail(copy, inside, ops.maximum(share, _TINY))
        focus = _between(_logarithm(fine), *map(math.log, CONSTANTS["focus"])) * some
        contrast = _between(_logarithm(detail), *map(math.log, CONSTANTS["contrast"])) * some
        illumination = self._illumination(copy, smooth) * some
        # The cube root by logarithms, which every runtime has; 0 stays 0.
        product = focus * focus * contrast
        root = ops.exp(_logarithm(product, 1e-12) * (1 / 3)) * _above(_above(product, 0.0, _STEEPEST), 0.0, _STEEPEST)
        score = root * illumination * _between(fov_fraction, *CONSTANTS["fov_fraction"])
        # By threes: XNNPACK concatenates five at most.
        parts = [[score, focus, contrast], [illumination, fov_fraction, colour * some]]
        values = ops.concatenate([ops.concatenate(part, axis=-1) for part in parts], axis=-1)
        return ops.reshape(values, (-1, len(NAMES)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], len(NAMES))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "side_by_side": self.side_by_side}

    def _reduced(self, crop: Any) -> Any:
        start, pool, side = self._plan.start, self._plan.pool, self._plan.side
        if self._size < _LEAST_SIDE:
            return self._enlarged(crop)
        if side * pool != self._size:
            crop = crop[:, start : start + side * pool, start : start + side * pool]
        return ops.average_pool(crop, pool, pool) if pool > 1 else crop

    def _enlarged(self, crop: Any) -> Any:
        """Enlarges to [B, s, s, 3] as the reference does, by OpenCV's cubic: here a matrix for each axis."""
        size, side = self._size, self._plan.side
        cubic = cv2.resize(np.eye(size, dtype=np.float32), (size, CONSTANTS["side"]), interpolation=cv2.INTER_CUBIC)
        matrix = cubic.reshape(side, -1, size).mean(axis=1).T  # [S, s]
        planes = ops.transpose(crop, (0, 3, 1, 2))
        for _ in range(2):
            planes = ops.transpose(ops.matmul(planes, matrix), (0, 1, 3, 2))
        return ops.clip(ops.transpose(planes, (0, 2, 3, 1)), 0.0, 255.0)

    def _blur(self, image: Any, kernels: Sequence[np.ndarray]) -> Any:
        """Blurs [B, a, n, b] with a Gaussian for each plane; returns [B, b, n, a], rows and columns exchanged."""
        blurred = self._blur_rows(image, kernels)
        return self._blur_rows(ops.transpose(blurred, (0, 3, 2, 1)), kernels)

    def _blur_rows(self, image: Any, kernels: Sequence[np.ndarray]) -> Any:
        rows, planes, columns = image.shape[1:]
        length = max(map(len, kernels))
        kernel = np.stack([np.pad(each, (length - len(each)) // 2) for each in kernels], axis=-1)[:, None, :, None]
        if not self.side_by_side:
            blurred = ops.depthwise_conv(ops.transpose(image, (0, 1, 3, 2)), kernel, padding="same")
            return ops.transpose(blurred, (0, 1, 3, 2))
        kernel = np.repeat(kernel, columns, axis=2)  # [K, 1, n * b, 1]
        blurred = ops.depthwise_conv(ops.reshape(image, (-1, rows, 1, planes * columns)), kernel, padding="same")
        return ops.reshape(blurred, (-1, rows, planes, columns))

    def _inside(self, brightness: Any, lit: Any) -> Any:
        """Returns 1 for the cells of 2 x 2 whose surroundings are lit clearly, so that a blurred rim is no detail."""
        clearly = lit * _above(brightness, CONSTANTS["clearly"] * self._median(brightness))
        unclear = ops.max_pool(_as_map(1.0 - clearly), 2, 2)
        return _as_plane(1.0 - ops.minimum(ops.conv(unclear, self._near, padding="same"), 1.0))

    def _median(self, brightness: Any) -> Any:
        """Returns [B, 1, 1, 1]: about the median brightness of what is lit."""
        cells = ops.average_pool(_as_map(brightness), _MEDIAN_CELL, _MEDIAN_CELL)
        disc = disc_mask(cells.shape[1], CONSTANTS["disc"]).astype(np.float32).reshape(1, 1, -1, 1)
        cells = ops.reshape(cells, (-1, 1, disc.size, 1))
        counts = ops.sum(_above(cells, self._levels) * disc, axis=2, keepdims=True)  # [B, 1, 1, L]: cells above each
        half = counts[..., :1] * 0.5
        step = ops.maximum(counts[..., :-1] - counts[..., 1:], _TINY)
        passed = ops.clip((counts[..., :-1] - half) / step, 0.0, 1.0) * np.diff(self._levels)
        return ops.sum(passed, axis=-1, keepdims=True) + float(self._levels[0])

    def _detail(self, copy: Any, inside: Any, share: Any) -> tuple[Any, Any, Any]:
        """Returns [B, 1, 1, 1] each: mean deviation of the fine band and of all detail, relative to the local
        brightness; and the mean saturation.

        Args:
          copy: [B, s, 3, s].
          inside: [B, s / 2, 1, s / 2], rows and columns exchanged.
          share: [B, 1, 1, 1], its mean.
        """
        brightness = _weighted(copy, CONSTANTS["detail_weights"])
        cells = _as_plane(ops.average_pool(_as_map(brightness), 2, 2))
        measured = _exchanged(inside)
        blurred = self._blur(ops.concatenate([cells * measured, measured], axis=2), [self._around] * 2)
        around = blurred[:, :, :1] / ops.maximum(blurred[:, :, 1:], 1e-3)
        enlarged = self._enlarged_twice(ops.concatenate([around, inside], axis=2))
        around, weight = enlarged[:, :, :1], _above(enlarged[:, :, 1:], 0.5, 1e3)
        relative = (brightness - around) / (around + CONSTANTS["noise"]) * weight
        bands = self._blur(ops.concatenate([relative, relative], axis=2), self._bands)
        narrow, wide = bands[:, :, :1], bands[:, :, 1:]
        high, low = _across(copy, ops.maximum), _across(copy, ops.minimum)
        colour = _mean((high - low) / ops.maximum(high, 1.0) * weight) / share
        fine = _mean_deviation(narrow - wide, _exchanged(weight), share)
        detail = _mean_deviation(relative, weight, share)
        if self._lost:
            finest = _mean_deviation(_exchanged(relative) - narrow, _exchanged(weight), share)
            detail = ops.sqrt(detail * detail + self._lost * finest * finest)
        return fine, detail, colour

    def _enlarged_twice(self, image: Any) -> Any:
        """Enlarges [B, a, n, b] linearly to [B, 2 b, n, 2 a], rows and columns exchanged."""
        for turn in range(2):
            rows, planes, columns = image.shape[1:]
            twice = ops.reshape(ops.concatenate([image, image], axis=2), (-1, 2 * rows, planes, columns))
            image = self._blur_rows(twice, [_LINEAR] * planes)
            image = image if turn else ops.transpose(image, (0, 3, 2, 1))
        return image

    def _illumination(self, copy: Any, smooth: Any) -> Any:
        luminance = _weighted(smooth, LUMINANCE)
        well = _between(luminance, *CONSTANTS["brightness"]) * _between(-luminance, -255.0, CONSTANTS["burnt"] - 255.0)
        lit = _above(_exchanged(_across(copy, ops.maximum)), CONSTANTS["lit"] // 2 + 0.5) * self._disc
        return _mean(well * lit) / ops.maximum(_mean(lit), _TINY)


def gaussian(variance: float, scale: float) -> np.ndarray:
    """Returns the 1-D Gaussian [K] float32 of sum 1 for a copy of `scale`.

    Its samples have the variance, in the reference's pixels; those of a narrow curve have less than the curve.
    """
    wanted = max(variance, 0.01) / scale**2
    low, high = 0.1, math.sqrt(wanted) + 1.0
    for _ in range(40):
        sigma = (low + high) / 2
        offset = np.arange(-max(1, math.ceil(3.5 * sigma)), max(1, math.ceil(3.5 * sigma)) + 1)
        kernel = np.exp(-0.5 * (offset / sigma) ** 2)
        kernel /= kernel.sum()
        low, high = (sigma, high) if kernel @ offset**2 < wanted else (low, sigma)
    return kernel.astype(np.float32)


def _across(image: Any, extreme: Callable[[Any, Any], Any]) -> Any:
    """Returns [B, a, 1, b]: the greatest or the least of the three planes of [B, a, 3, b]."""
    return extreme(extreme(image[:, :, :1], image[:, :, 1:2]), image[:, :, 2:])


def _weighted(image: Any, weights: Sequence[float]) -> Any:
    """Returns [B, a, 1, b]: the weighted sum of the planes of [B, a, 3, b]."""
    first, *others = ((image[:, :, plane : plane + 1], weight) for plane, weight in enumerate(weights) if weight)
    total = first[0] * first[1]
    for plane, weight in others:
        total = total + plane * weight
    return total


def _above(value: Any, threshold: Any, steep: float = _STEEP) -> Any:
    """Returns 1 where `value` exceeds the threshold, else 0, without a comparison, which delegates do not take."""
    return ops.clip((value - threshold) * steep, 0.0, 1.0)


def _between(value: Any, low: float, high: float) -> Any:
    return ops.clip((value - low) * (1 / (high - low)), 0.0, 1.0)


def _logarithm(value: Any, least: float = _TINY) -> Any:
    return ops.log(ops.maximum(value, least))


def _exchanged(image: Any) -> Any:
    """Returns [B, b, 1, a] of [B, a, 1, b]."""
    return ops.transpose(image, (0, 3, 2, 1))


def _as_map(image: Any) -> Any:
    """Returns [B, a, b, 1], as pooling and convolutions take it, of [B, a, 1, b]."""
    return ops.reshape(image, (-1, image.shape[1], image.shape[3], 1))


def _as_plane(image: Any) -> Any:
    """Returns [B, a, 1, b] of [B, a, b, 1]."""
    return ops.reshape(image, (-1, image.shape[1], 1, image.shape[2]))


def _mean(image: Any) -> Any:
    """Returns [B, 1, 1, 1], the mean of [B, a, 1, b]."""
    return ops.mean(image, axis=(1, 2, 3), keepdims=True)


def _mean_deviation(values: Any, weight: Any, share: Any) -> Any:
    """Returns [B, 1, 1, 1]: the mean distance from the mean where `weight` is 1, on `share` of all positions."""
    mean = _mean(values * weight) / share
    return _mean(ops.abs(values - mean) * weight) / share
