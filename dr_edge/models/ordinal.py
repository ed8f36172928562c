"""Ordered classes (DR grades): heads whose logits know that grade 3 lies between 2 and 4.

Both wrap any classifier of this package and end in ordinary class logits [B, C], whose softmax gives the class
probabilities. Everything downstream (validation, temperature, evaluation, export) therefore stays as it is.

  train.model = @models.corn
  models.corn.model = @models.mobilenet_v3_cbam
"""

from __future__ import annotations

from collections.abc import Callable

import gin
import numpy as np

from dr_edge.framework import keras, ops
from dr_edge.models.registry import PHONE, register
from dr_edge.models.resnet_v2_slim import resnet_v2_slim

Builder = Callable[[int, int], keras.Model]
SCORES = "ordinal_scores"


# Neither head has a heat map in closed form, which an artifact would hold; `explain` shows theirs.
@register(
    "resnet_v2_slim_corn", image_size=256, outputs=5, formats=PHONE, heat_map=False,
    arguments={"model": resnet_v2_slim},
)  # fmt: skip
@gin.configurable(module="models")
def corn(image_size: int, outputs: int, model: Builder = gin.REQUIRED) -> keras.Model:
    """Conditional ordinal regression (CORN; Shi, Cao & Raschka, 2021).

    Score k of C - 1 says how probable a grade above k is, given one above k - 1: P(y > k | y > k - 1) = sigmoid(z_k).
    So P(y = k) = sigmoid(z_0) ... sigmoid(z_{k-1}) sigmoid(-z_k), whose logarithm is logit k. CORN's loss, binary
    cross-entropy on the conditional subsets, is then exactly losses.cross_entropy.

    Args:
      image_size: side of the square input in pixels.
      outputs: number of grades C, at least 3.
      model: (image_size, outputs) -> network with a dense layer `logits`.

    Returns:
      A flat functional model from [B, S, S, 3] float32 0..255 to [B, C] log-probabilities, the layer `logits`.

    Raises:
      ValueError: fewer than 3 grades.
    """
    _check_grades(outputs)
    network = model(image_size, outputs - 1)
    scores = _scores(network)  # [B, C - 1]
    # log sigmoid(z) = min(z, 0) - log(1 + exp(-|z|)): exact for large |z|, and in operations that TFLite has.
    tail = ops.log(1.0 + ops.exp(-ops.absolute(scores)))
    above, below = ops.minimum(scores, 0.0) - tail, ops.minimum(-scores, 0.0) - tail
    passed = np.triu(np.ones((outputs - 1, outputs), np.float32), 1)  # class k has passed the scores 0 .. k - 1
    stopped = np.eye(outputs - 1, outputs, dtype=np.float32)  # and stops at score k; the last class stops nowhere
    return _named(network, ops.matmul(above, passed) + ops.matmul(below, stopped), "corn")


@register(
    "resnet_v2_slim_regression", image_size=256, outputs=5, formats=PHONE, heat_map=False,
    arguments={"model": resnet_v2_slim},
)  # fmt: skip
@gin.configurable(module="models")
def grade_regression(image_size: int, outputs: int, model: Builder = gin.REQUIRED, sigma: float = 0.7) -> keras.Model:
    """One number, the grade, with a normal distribution of width `sigma` over the grades around it.

    P(y = k) is proportional to exp(-(s - k)^2 / (2 sigma^2)) for the score s, so the most probable class is s rounded.
    The logits are linear in s: (k s - k^2 / 2) / sigma^2. Temperature scaling fits sigma after training.

    Args:
      image_size: side of the square input in pixels.
      outputs: number of grades C, at least 3.
      model: (image_size, outputs) -> network with a dense layer `logits`.
      sigma: in grades, more than 0.

    Returns:
      A flat functional model from [B, S, S, 3] float32 0..255 to [B, C] class logits, the layer `logits`.

    Raises:
      ValueError: fewer than 3 grades, or a sigma that is not positive.
    """
    _check_grades(outputs)
    if sigma <= 0:
        raise ValueError(f"grade_regression.sigma must be more than 0. Received: {sigma}.")
    network = model(image_size, 1)
    middle = (outputs - 1) / 2  # counted from the middle grade, so that a network that knows nothing says so
    grades = np.arange(outputs, dtype=np.float32)[None] / sigma**2
    score = _scores(network) + middle  # [B, 1]
    return _named(network, ops.matmul(score, grades) - grades * np.arange(outputs, dtype=np.float32) / 2, "regression")


def _check_grades(outputs: int) -> None:
    if outputs < 3:
        raise ValueError(f"Ordered classes are three or more. Received: {outputs}. Use the model itself for two.")


def _scores(network: keras.Model) -> keras.KerasTensor:
    """Returns the output of the network's dense layer `logits`, which from now on is called `ordinal_scores`."""
    layer = network.get_layer("logits")
    layer.name = SCORES
    scores = layer.output
    return scores if scores.dtype == "float32" else ops.cast(scores, "float32")  # under mixed precision


def _named(network: keras.Model, logits: keras.KerasTensor, kind: str) -> keras.Model:
    """Returns the network that ends in `logits`, which becomes the layer of that name."""
    logits = keras.layers.Identity(name="logits", dtype="float32")(logits)
    model = keras.Model(network.input, logits, name=f"{network.name}_{kind}")
    model.backbone_layers = getattr(network, "backbone_layers", [])
    return model
