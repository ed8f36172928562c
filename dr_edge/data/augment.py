"""Augmentation of training examples, inside tf.data, with stateless seeds.

One random affine map per example (rotation, shift, zoom, shear, flips) is applied to the image and, with nearest
neighbours, to its masks, then colour and sharpness are varied. The same seed gives the same example, so a resumed run
repeats what the uninterrupted one saw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gin
import tensorflow as tf


@gin.configurable(module="augment")
def augmentation(
    rotation: float = 180.0,
    shift: float = 0.0,
    zoom: float = 0.0,
    shear: float = 0.0,
    flip: bool = True,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> Callable[..., tuple[Any, Any]]:
    """Returns the function that `pipeline.training_batches` calls on each example.

    Args:
      rotation: up to this many degrees either way.
      shift: up to this fraction of the side, either way, along each axis.
      zoom: scale between 1 - zoom and 1 + zoom.
      shear: up to this many degrees either way.
      flip: mirror left-right and up-down, each for half of the examples.
      brightness: up to this fraction of the full range is added or taken away.
      contrast: contrast is multiplied by a factor between 1 - contrast and 1 + contrast.
      saturation: the same for the distance from grey.
      hue: turn of the colour circle, as a fraction of it, up to this much either way.

    Returns:
      (image [S, S, 3] float32 0..255, label, seed [2] int32, background grey level) -> (image, label); a label of
      [S, S, M] is taken as masks and moved with the image.

    Raises:
      ValueError: a strength outside its range.
    """
    for name, value, limit in (
        ("rotation", rotation, 180.0), ("shift", shift, 0.5), ("zoom", zoom, 0.9), ("shear", shear, 45.0),
        ("brightness", brightness, 1.0), ("contrast", contrast, 1.0), ("saturation", saturation, 1.0), ("hue", hue, 0.5),
    ):  # fmt: skip
        if not 0 <= value <= limit:
            raise ValueError(f"augmentation.{name} must be within 0..{limit}. Received: {value}.")
    moves = flip or any((rotation, shift, zoom, shear))

    def augment(image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor, background: float) -> tuple[tf.Tensor, tf.Tensor]:
        draws = tf.random.stateless_uniform([12], seed, -1.0, 1.0)
        if moves:
            matrix = inverse_affine(
                image.shape[0],
                angle=draws[0] * rotation,
                offset=draws[1:3] * shift,
                scale=1.0 + draws[3] * zoom,
                shear=draws[4] * shear,
                mirror=tf.where(draws[5:7] > 0, 1.0, -1.0) if flip else tf.ones([2]),
            )
            image = warp(image, matrix, "BILINEAR", background)
            if label.shape.rank == 3:
                label = warp(label, matrix, "NEAREST", 0.0)
        return _recolour(image, draws[7:], background), label

    def _recolour(image: tf.Tensor, draws: tf.Tensor, background: float) -> tf.Tensor:
        if not any((brightness, contrast, saturation, hue)):
            return image
        # Outside the field of view the camera saw nothing: that area keeps its grey level.
        lit = tf.reduce_any(tf.abs(image - background) > 4.0, axis=-1, keepdims=True)
        colour = image
        if contrast:
            mean = tf.reduce_mean(colour, axis=[0, 1], keepdims=True)
            colour = (colour - mean) * (1.0 + draws[0] * contrast) + mean
        if saturation:
            grey = tf.reduce_mean(colour, axis=-1, keepdims=True)
            colour = (colour - grey) * (1.0 + draws[1] * saturation) + grey
        if hue:
            colour = tf.image.adjust_hue(tf.clip_by_value(colour, 0.0, 255.0) / 255.0, draws[2] * hue) * 255.0
        if brightness:
            colour = colour + draws[3] * brightness * 255.0
        return tf.where(lit, tf.clip_by_value(colour, 0.0, 255.0), image)

    return augment


def inverse_affine(
    size: int, *, angle: tf.Tensor, offset: tf.Tensor, scale: tf.Tensor, shear: tf.Tensor, mirror: tf.Tensor
) -> tf.Tensor:
    """Returns the map from output to input pixels of: mirror, shear, scale, rotate about the centre, then shift.

    Args:
      size: side of the square image in pixels.
      angle, shear: degrees.
      offset: [2], shift in x and y as a fraction of the side.
      scale: > 1 magnifies.
      mirror: [2], 1 or -1 for x and y.

    Returns:
      [8] float32, as tf.raw_ops.ImageProjectiveTransformV3 takes it.
    """
    radians = angle * math.pi / 180.0
    slope = tf.tan(shear * math.pi / 180.0)
    cos, sin = tf.cos(radians) / scale, tf.sin(radians) / scale
    # inverse linear part = mirror^-1 . shear^-1 . rotation^-1 / scale
    a, b = cos - slope * -sin, sin - slope * cos
    c, d = -sin, cos
    a, b, c, d = a * mirror[0], b * mirror[0], c * mirror[1], d * mirror[1]
    centre = (size - 1) / 2.0
    target_x, target_y = centre + offset[0] * size, centre + offset[1] * size
    return tf.stack([a, b, centre - a * target_x - b * target_y, c, d, centre - c * target_x - d * target_y, 0.0, 0.0])


def warp(image: tf.Tensor, matrix: tf.Tensor, interpolation: str, fill: float) -> tf.Tensor:
    """Samples [S, S, C] float32 `image` at the places that `matrix` [8] names; outside it, `fill`."""
    size = image.shape[0]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=matrix[None],
        output_shape=tf.constant([size, size]),
        fill_value=fill,
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(moved[0], image.shape)
