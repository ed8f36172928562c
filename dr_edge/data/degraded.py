"""What phones and archives do to a photograph before anybody crops or normalises it. Stateless, for tf.data."""

from __future__ import annotations

from collections.abc import Callable

import gin

from dr_edge.data.degrade import gaussian_blur, recompress
from dr_edge.framework import tf

LIMITS = {
    "brightness": 1.0, "temperature": 0.5, "gamma": 2.0, "blur": 0.05, "noise": 0.2, "rescale": 0.9, "jpeg": 0.95,
    "share": 1.0,
}  # fmt: skip
ORDER = ("brightness", "temperature", "gamma", "blur", "noise", "rescale", "jpeg")  # of what happens to a photograph
OWN_DRAWS = 0x0CA1  # folded into the seed, so that switching these on leaves the draws of the rest as they were

Photograph = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@gin.configurable(module="degrade")
def photograph(
    brightness: float = 0.3,
    temperature: float = 0.15,
    gamma: float = 0.4,
    blur: float = 0.004,
    noise: float = 0.02,
    rescale: float = 0.4,
    jpeg: float = 0.6,
    share: float = 0.5,
) -> Photograph:
    """Returns the function that `augment.augmentation` calls on the photograph, before normalisation.

    Normalised records hold the crop twice, normalised and as it was; this works on the second, which is then normalised
    in the graph, exactly as a bundle does. It matters: Graham's normalisation takes a change of brightness away and
    multiplies noise and JPEG blocks by its gain, so that the gamma of a normalised picture is not that of any
    photograph. Records of `--preprocess=crop` hold the photograph alone, which models take as it is.

    Each kind happens to a `share` of the examples, independently, by a strength between none and the one given; in the
    order of camera and archive: exposure, white balance, tone curve, focus, sensor, copy. The usual strengths are those
    of every gin file for photographs; 0 leaves a kind out.

    Args:
      brightness: all channels times 1 / (1 + brightness) up to 1 + brightness, evenly in the logarithm.
      temperature: red times, and blue divided by, 1 / (1 + temperature) up to 1 + temperature: bluer or redder light.
      gamma: exponent of the tone curve, 1 / (1 + gamma) up to 1 + gamma, evenly in the logarithm: 0.4 is 0.71 to 1.4.
      blur: Gaussian of a sigma up to this fraction of the side.
      noise: Gaussian noise of a standard deviation up to this fraction of the full range, in each channel of each pixel
        by itself.
      rescale: reduced to a side of 1 - rescale of the own one or more, and enlarged again.
      jpeg: compressed at a quality of 100 down to 100 * (1 - jpeg): 0.6 is a quality of 40 or better.
      share: of the examples that each kind happens to, 0..1.

    Returns:
      (crop [S, S, 3] float32 0..255, seed [2] int32) -> crop of the same shape, whole numbers 0..255. The same seed
      gives the same crop.

    Raises:
      ValueError: a strength outside its range.
    """
    strengths = {
        "brightness": brightness, "temperature": temperature, "gamma": gamma, "blur": blur, "noise": noise,
        "rescale": rescale, "jpeg": jpeg, "share": share,
    }  # fmt: skip
    for name, value in strengths.items():
        if not 0 <= value <= LIMITS[name]:
            raise ValueError(f"degrade.photograph.{name} must be within 0..{LIMITS[name]}. Received: {value}.")

    def degraded(crop: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        own = tf.random.experimental.stateless_fold_in(seed, OWN_DRAWS)
        happens = tf.random.stateless_uniform([len(ORDER)], own) < share
        draws = tf.random.stateless_uniform([len(ORDER)], tf.random.experimental.stateless_fold_in(own, 1), -1.0, 1.0)
        grain = tf.random.experimental.stateless_fold_in(own, 2)
        for place, name in enumerate(ORDER):
            if strengths[name]:
                crop = tf.cond(
                    happens[place],
                    lambda name=name, crop=crop, place=place: _change(crop, name, strengths[name], draws[place], grain),
                    lambda crop=crop: crop,
                )
        return _whole(crop)

    return degraded


def _change(crop: tf.Tensor, name: str, strength: float, draw: tf.Tensor, grain: tf.Tensor) -> tf.Tensor:
    """Applies one kind of ORDER to [S, S, 3]; `draw`, -1..1, says how much and which way, `grain` seeds the noise."""
    size = crop.shape[0]
    amount = tf.abs(draw) * strength
    factor = tf.pow(1.0 + strength, draw)
    if name == "brightness":
        return _within(crop * factor)
    if name == "temperature":
        return _within(crop * tf.stack([factor, 1.0, 1.0 / factor]))
    if name == "gamma":
        return 255.0 * tf.pow(_within(crop) / 255.0, factor)
    if name == "blur":
        return gaussian_blur(crop, amount * size, radius=max(1, round(3 * strength * size + 0.5)))
    if name == "noise":
        return _within(crop + 255.0 * amount * tf.random.stateless_normal([size, size, 3], grain))
    if name == "rescale":
        return rescaled(crop, tf.maximum(tf.cast(tf.round(size * (1.0 - amount)), tf.int32), 1))
    return recompress(crop, tf.cast(tf.round(100.0 * (1.0 - amount)), tf.int32))


def rescaled(crop: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """Reduces [S, S, 3] float32 to `side` [] int32 pixels, each an average of what it covers, and enlarges it again."""
    small = tf.image.resize(crop, tf.stack([side, side]), method="area")
    return tf.ensure_shape(tf.image.resize(small, crop.shape[:2], method="bilinear"), crop.shape)


def _within(crop: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(crop, 0.0, 255.0)


def _whole(crop: tf.Tensor) -> tf.Tensor:
    """Returns whole grey levels 0..255, as any picture holds."""
    return tf.round(_within(crop))
