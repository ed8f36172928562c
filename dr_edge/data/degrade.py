"""What poor cameras and careless copies do to photographs: blur, JPEG artefacts, patches. Stateless, for tf.data."""

from __future__ import annotations

import math

from dr_edge.framework import tf

LIT_ABOVE = 4.0  # grey levels from the background; JPEG noise stays below


def lit(image: tf.Tensor, background: float) -> tf.Tensor:
    """Returns [S, S, 1] bool: where `image` [S, S, 3] shows more than the background, that is the field of view."""
    return tf.reduce_any(tf.abs(image - background) > LIT_ABOVE, axis=-1, keepdims=True)


def degrade(
    image: tf.Tensor, seed: tf.Tensor, background: float, *, blur: float, jpeg: float, cutout: float
) -> tf.Tensor:
    """Applies each of blur, JPEG and cut-out to half of the examples, with a random strength up to the one given.

    Args:
      image: [S, S, 3] float32, 0..255.
      seed: [2] int32; the same seed gives the same result.
      background: grey level outside the field of view.
      blur: largest sigma, as a fraction of the side.
      jpeg: lowest quality is 100 * (1 - jpeg).
      cutout: largest radius, as a fraction of the side.

    Returns:
      [S, S, 3] float32, 0..255.
    """
    if not any((blur, jpeg, cutout)):
        return image
    size = image.shape[0]
    # A seed of its own, so that switching these on leaves the other draws as they were.
    own = tf.random.experimental.stateless_fold_in(seed, 0x0DE6)
    chosen = tf.random.stateless_uniform([3], own) < 0.5
    strength = tf.random.stateless_uniform([3], tf.random.experimental.stateless_fold_in(own, 1))
    if cutout:
        disc = hide_disc(
            image, tf.random.experimental.stateless_fold_in(own, 2), strength[0] * cutout * size, background
        )
        image = tf.where(chosen[0], disc, image)
    if blur:
        radius = max(1, math.ceil(3 * blur * size))
        image = tf.cond(chosen[1], lambda: gaussian_blur(image, strength[1] * blur * size, radius), lambda: image)
    if jpeg:
        quality = tf.cast(tf.round(100.0 * (1.0 - strength[2] * jpeg)), tf.int32)
        image = tf.cond(chosen[2], lambda: recompress(image, quality), lambda: image)
    return image


def gaussian_blur(image: tf.Tensor, sigma: tf.Tensor, radius: int) -> tf.Tensor:
    """Blurs [S, S, 3] float32 by a Gaussian of `sigma` pixels, cut off at `radius`; borders are reflected (101)."""
    places = tf.range(-radius, radius + 1, dtype=tf.float32)
    kernel = tf.exp(-0.5 * tf.square(places / tf.maximum(sigma, 1e-3)))
    kernel /= tf.reduce_sum(kernel)
    padded = tf.pad(image, [[radius, radius], [radius, radius], [0, 0]], mode="REFLECT")
    channels_first = tf.transpose(padded, [2, 0, 1])[..., None]  # [3, S + 2r, S + 2r, 1]
    rows = tf.nn.conv2d(channels_first, kernel[:, None, None, None], 1, "VALID")
    both = tf.nn.conv2d(rows, kernel[None, :, None, None], 1, "VALID")
    return tf.ensure_shape(tf.transpose(both[..., 0], [1, 2, 0]), image.shape)


def recompress(image: tf.Tensor, quality: tf.Tensor) -> tf.Tensor:
    """Writes [S, S, 3] float32 0..255 as JPEG of `quality` [] int32 1..100 (4:2:0) and reads it again."""
    pixels = tf.cast(tf.round(tf.clip_by_value(image, 0.0, 255.0)), tf.uint8)
    data = tf.raw_ops.EncodeJpegVariableQuality(images=pixels, quality=quality)
    decoded = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(tf.cast(decoded, tf.float32), image.shape)


def hide_disc(image: tf.Tensor, seed: tf.Tensor, radius: tf.Tensor, background: float) -> tf.Tensor:
    """Replaces a disc by the mean colour of the field of view; its centre lies inside the field of view.

    Args:
      image: [S, S, 3] float32.
      seed: [2] int32, decides the centre.
      radius: [] float32, pixels.
      background: grey level outside the field of view, which stays as it is.

    Returns:
      [S, S, 3] float32; the image itself where there is no field of view.
    """
    size = image.shape[0]
    inside = lit(image, background)  # [S, S, 1]
    area = tf.reduce_sum(tf.cast(inside, tf.float32))
    mean = tf.reduce_sum(tf.where(inside, image, 0.0), [0, 1]) / tf.maximum(area, 1.0)  # [3]
    # The pixel of the largest of one random number per lit pixel: each is drawn with the same probability.
    number = tf.random.stateless_uniform([size, size, 1], seed)
    place = tf.argmax(tf.reshape(tf.where(inside, number, -1.0), [-1]), output_type=tf.int32)
    y, x = tf.cast(place // size, tf.float32), tf.cast(place % size, tf.float32)
    rows, columns = tf.range(size, dtype=tf.float32)[:, None], tf.range(size, dtype=tf.float32)[None]
    disc = (tf.square(rows - y) + tf.square(columns - x) <= tf.square(radius))[..., None]
    return tf.where(disc & inside, mean, image)
