"""Preprocessing inside a network: in-graph twins of `graham_normalise` and `grey_normalise` in graham.py.

Only average and max pooling, depthwise convolution, bilinear resize and element-wise arithmetic on static
shapes, which LiteRT's XNNPACK takes in one piece; no Flex operations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dr_edge.framework import keras, ops
from dr_edge.fundus.crop import disc_mask
from dr_edge.fundus.graham import EMPTY, GRAHAM, GREY, LUMINANCE, NEUTRAL, blur_plan, disc_weight


@keras.saving.register_keras_serializable(package="dr_edge")
class GrahamNormalisation(keras.layers.Layer):
    """Maps a raw square crop, [B, S, S, 3] float32 0..255, to its Graham normalisation, the same shape and range.

    The layer has no weights. S must be known when the layer is built.

    Args:
      sigma_ratio: blur sigma / FOV radius, unitless.
      gain: contrast factor.
      side_by_side: blur with all columns and channels side by side, which fills the lanes of a CPU's vector unit
        where six channels would not. It needs four small transposes; graphs laid out for a server want False. The
        result is the same.
    """

    def __init__(
        self,
        sigma_ratio: float = GRAHAM["sigma_ratio"],
        gain: float = GRAHAM["gain"],
        side_by_side: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if gain <= 0:
            raise ValueError(f"gain must be positive. Received: {gain}.")
        self.sigma_ratio = float(sigma_ratio)
        self.gain = float(gain)
        self.side_by_side = bool(side_by_side)
        self.trainable = False

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.size = _side(input_shape)
        self.pool, kernel = blur_plan(self.size, self.sigma_ratio)
        self._cells = self.size // self.pool
        channels = 6 * self._cells if self.side_by_side else 6
        self._kernel = np.broadcast_to(kernel[:, None, None, None], (len(kernel), 1, channels, 1)).copy()
        self._disc = disc_weight(self.size, self.pool)[None, :, :, None]
        super().build(input_shape)

    def call(self, crop: Any) -> Any:
        crop = ops.cast(crop, "float32")
        small = ops.average_pool(crop, self.pool, self.pool) if self.pool > 1 else crop
        span = GRAHAM["lit_to"] - GRAHAM["lit_from"]
        brightness = ops.max(small, axis=-1, keepdims=True)
        lit = ops.clip((brightness - GRAHAM["lit_from"]) * (1 / span), 0.0, 1.0) * self._disc  # [B, s, s, 1]
        # Three equal channels: broadcasting one over three is the slowest thing that XNNPACK does here.
        lit = self._erode(ops.concatenate([lit, lit, lit], axis=-1))
        blurred = self._blur(ops.concatenate([small * lit, lit], axis=-1))
        average = blurred[..., :3] / ops.maximum(blurred[..., 3:], EMPTY)
        weight = self._erode(lit) * self.gain
        if self.pool > 1:
            average, weight = self._enlarge(average), self._enlarge(weight)
        return ops.clip((crop - average) * weight + float(NEUTRAL), 0.0, 255.0)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"sigma_ratio": self.sigma_ratio, "gain": self.gain, "side_by_side": self.side_by_side}
        return {**super().get_config(), **own}

    def _blur(self, image: Any) -> Any:
        """Blurs [B, n, n, 6] along both axes with the Gaussian."""
        cells = self._cells
        if not self.side_by_side:
            image = ops.depthwise_conv(image, self._kernel.transpose(1, 0, 2, 3), padding="same")
            return ops.depthwise_conv(image, self._kernel, padding="same")
        for _ in range(2):
            image = ops.reshape(image, (-1, cells, 1, 6 * cells))
            image = ops.depthwise_conv(image, self._kernel, padding="same")
            image = ops.transpose(ops.reshape(image, (-1, cells, cells, 6)), (0, 2, 1, 3))
        return image

    def _erode(self, weight: Any) -> Any:
        reach = 2 * GRAHAM["rim_cells"] + 1
        return 1.0 - ops.max_pool(1.0 - weight, reach, 1, padding="same")

    def _enlarge(self, image: Any) -> Any:
        return ops.image.resize(image, (self.size, self.size), interpolation="bilinear")


@keras.saving.register_keras_serializable(package="dr_edge")
class GreyNormalisation(keras.layers.Layer):
    """Maps a raw square crop, [B, S, S, 3] float32 0..255, to what `grey_normalise` makes of it, same shape and range.

    The layer has no weights. The values of the crop are whole numbers, as in a picture; S must be known.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trainable = False

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        size = _side(input_shape)
        self._disc = disc_mask(size, GREY["disc"]).astype(np.float32)[None, :, :, None]
        self._luminance = np.array(LUMINANCE, np.float32).reshape(1, 1, 3, 1)
        super().build(input_shape)

    def call(self, crop: Any) -> Any:
        crop = ops.cast(crop, "float32")
        grey = ops.conv(crop, self._luminance, padding="same")  # [B, S, S, 1]
        mask = ops.clip(ops.max(crop, axis=-1, keepdims=True) - GREY["lit_from"], 0.0, 1.0) * self._disc
        share = ops.maximum(ops.mean(mask, axis=(1, 2), keepdims=True), EMPTY / crop.shape[1] ** 2)
        mean = ops.mean(grey * mask, axis=(1, 2), keepdims=True) / share
        away = (grey - mean) * mask
        variance = ops.mean(away * away, axis=(1, 2), keepdims=True) / share
        out = away * (GREY["spread"] / ops.sqrt(variance + GREY["least_deviation"] ** 2)) + float(NEUTRAL)
        out = ops.clip(out, 0.0, 255.0)
        return ops.concatenate([out, out, out], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


def _side(input_shape: tuple[int | None, ...]) -> int:
    if len(input_shape) != 4 or input_shape[1] is None or tuple(input_shape[1:]) != (input_shape[1], input_shape[1], 3):
        raise ValueError(f"A batch of square crops [B, S, S, 3] with a known S is needed. Received: {input_shape}.")
    return int(input_shape[1])
