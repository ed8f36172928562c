"""Augmentation of training examples, inside tf.data, with stateless seeds.

What phones and archives do to the photograph comes first, before normalisation (degraded.py). Then, on what the model
takes: one random affine map per example (rotation, shift, zoom, shear, flips) is applied to the image, with nearest
neighbours to its masks, and to its centres; then colour is varied, and sharpness, compression and holes are
(degrade.py). The same seed gives the same example, so a resumed run repeats what the uninterrupted one saw.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import gin

from dr_edge.data import degrade
from dr_edge.data.degraded import Photograph
from dr_edge.framework import tf

LIMITS = {
    "rotation": 180.0, "shift": 0.5, "zoom": 0.9, "shear": 45.0, "brightness": 1.0, "contrast": 1.0, "saturation": 1.0,
    "hue": 0.5, "blur": 0.05, "jpeg": 0.95, "cutout": 0.5,
}  # fmt: skip


Change = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, float, tf.Tensor | None], tuple[Any, ...]]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What `augmentation` returns; called, it changes what the model takes.

    Attributes:
      change: (image, label, seed, background, centres) -> (image, label, centres), see `augmentation`.
      photograph: (crop, seed) -> crop, before normalisation; None: the stored normalised image is used as it is.
      only_unhealthy: neither happens to examples that show no disease.
    """

    change: Change
    photograph: Photograph | None
    only_unhealthy: bool

    def __call__(
        self, image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor, background: float, centres: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, ...]:
        """Returns (image, label), and the moved centres where some were given."""
        points = tf.zeros([0, 2]) if centres is None else centres
        changed = self._if_wanted(
            label, lambda: self.change(image, label, seed, background, points), lambda: (image, label, points)
        )
        return changed if centres is not None else changed[:2]

    def degraded(self, crop: tf.Tensor, label: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns the photograph [S, S, 3] float32 0..255, not normalised, as phones and archives would have it."""
        degrade_photograph = self.photograph
        if degrade_photograph is None:
            return crop
        return self._if_wanted(label, lambda: degrade_photograph(crop, seed), lambda: crop)

    def _if_wanted(self, label: tf.Tensor, change: Callable[[], Any], leave: Callable[[], Any]) -> Any:
        if not self.only_unhealthy:
            return change()
        if label.shape.rank == 3:
            raise ValueError("augmentation.only_unhealthy needs labels that say what is healthy; masks do not.")
        return tf.cond(tf.reduce_any(label > 0), change, leave)


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
    blur: float = 0.0,
    jpeg: float = 0.0,
    cutout: float = 0.0,
    only_unhealthy: bool = False,
    photograph: Photograph | None = None,
) -> Augmentation:
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
      blur: half of the examples are blurred by a Gaussian of a sigma up to this fraction of the side.
      jpeg: half of the examples are compressed again as JPEG, at a quality of 100 down to 100 * (1 - jpeg).
      cutout: half of the examples lose a disc of a radius up to this fraction of the side, within the field of view.
      only_unhealthy: leave the examples alone that show no disease: a label of 0, or no label of 1 (multilabel).
      photograph: what happens to the photograph before normalisation, for example @degrade.photograph(); None: nothing.
        All others work on what the model takes: of records that are normalised, on the normalised picture.

    Returns:
      A function (image [S, S, 3] float32 0..255, label (of a classification 1 for the ill, 0 for the others), seed [2]
      int32, background grey level, centres=None) -> (image, label), and the moved centres where some were given ([N, 2]
      float32, x and y in pixels, pixel centres at .5; NaN stays NaN). A label of [S, S, M] is taken as masks and moved
      with the image; cut-out leaves it as it is. Its method `degraded` is for the photograph before normalisation.

    Raises:
      ValueError: a strength outside its range, a photograph that is no function; only_unhealthy with masks.
    """
    strengths = {
        "rotation": rotation, "shift": shift, "zoom": zoom, "shear": shear, "brightness": brightness,
        "contrast": contrast, "saturation": saturation, "hue": hue, "blur": blur, "jpeg": jpeg, "cutout": cutout,
    }  # fmt: skip
    _check_strengths(strengths)
    if photograph is not None and not callable(photograph):
        raise ValueError(
            f"augmentation.photograph must be None or what degrade.photograph() returns. Received: {photograph!r}."
        )
    moves = flip or any((rotation, shift, zoom, shear))

    def change(
        image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor, background: float, centres: tf.Tensor | None
    ) -> tuple[tf.Tensor, ...]:
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
            if centres is not None:
                centres = move_points(centres, matrix)
        image = recolour(
            image, draws[7:], background, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue
        )
        image = degrade.degrade(image, seed, background, blur=blur, jpeg=jpeg, cutout=cutout)
        return image, label, centres

    return Augmentation(change, photograph, only_unhealthy)


def _check_strengths(strengths: Mapping[str, float]) -> None:
    """Raises ValueError where a strength lies outside its range."""
    for name, value in strengths.items():
        if not 0 <= value <= LIMITS[name]:
            raise ValueError(f"augmentation.{name} must be within 0..{LIMITS[name]}. Received: {value}.")


def recolour(
    image: tf.Tensor,
    draws: tf.Tensor,
    background: float,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
) -> tf.Tensor:
    """Varies the colour of [S, S, 3] float32 `image` (0..255) within the field of view.

    Args:
      image: on the grey level `background`.
      draws: [4 or more] float32, -1..1: how far contrast, saturation, hue and brightness go, in this order.
      background: grey level outside the field of view.
      brightness, contrast, saturation, hue: strengths, as `augmentation` takes them; 0: left alone.
    """
    if not any((brightness, contrast, saturation, hue)):
        return image
    # Outside the field of view the camera saw nothing: that area keeps its grey level.
    lit = degrade.lit(image, background)
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


def move_points(points: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """Moves points [N, 2] float32 (x, y, pixel centres at .5) as `warp` moves the image they lie on; NaN stays NaN."""
    linear = tf.reshape(tf.gather(matrix, [0, 1, 3, 4]), [2, 2])
    shift = tf.gather(matrix, [2, 5])
    # The matrix counts pixel centres as whole numbers and leads from the output back to the input.
    return tf.linalg.matmul(points - 0.5 - shift, tf.linalg.inv(linear), transpose_b=True) + 0.5
