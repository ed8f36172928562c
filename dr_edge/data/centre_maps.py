"""Points as heat maps: how a segmentation network is asked for the fovea."""

from __future__ import annotations

from dr_edge.framework import tf

SIGMA = 0.03  # of the image's side: about a third of an optic disc's diameter


def centre_maps(centres: tf.Tensor, size: int, sigma: float = SIGMA) -> tf.Tensor:
    """Draws one Gaussian per point.

    Args:
      centres: [N, 2] float32, x and y in pixels, pixel centres at .5; NaN where a point is missing.
      size: side of the image in pixels.
      sigma: of the Gaussian, as a fraction of the side.

    Returns:
      [size, size, N] float32: 1 at the point, falling towards 0; -1 everywhere where the point is missing.
    """
    missing = tf.reduce_any(tf.math.is_nan(centres), axis=-1)  # [N]
    places = tf.where(missing[:, None], 0.0, centres)
    grid = tf.range(size, dtype=tf.float32) + 0.5
    across = tf.square(grid[None, :, None] - places[:, 0])  # [1, size, N]
    down = tf.square(grid[:, None, None] - places[:, 1])  # [size, 1, N]
    heat = tf.exp(-(across + down) / (2.0 * (sigma * size) ** 2))
    return tf.where(missing, -1.0, heat)
