"""The deployable graph: one square photograph in, everything that an app shows out.

    image [1, S, S, 3] uint8 -> Graham normalisation (when the records had it) -> the trained network ->
    probabilities, heatmap, ood_distance        (a segmentation network gives masks)
                                           -> quality of the photograph, without the network

It is a Keras model built from the trained one, sharing its weights; each artifact is a conversion of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from dr_edge.calibration.statistics import FeatureStatistics
from dr_edge.framework import keras, ops
from dr_edge.fundus.in_graph import prepare
from dr_edge.fundus.quality import LEAST_SIZE
from dr_edge.fundus.quality_layer import PhotographQuality
from export.graph import rewrite
from export.graph.heads import (
    LinearHead,
    closed_form_grad_cam,
    elementwise_tail,
    linear_head,
    mahalanobis,
    positive,
)

INPUT_NAME = "image"
NETWORK_NAME = "network"
QUALITY = "quality"


@dataclasses.dataclass(frozen=True)
class Target:
    """What will run the graph, as far as it changes how the same function is written.

    Attributes:
      integer_friendly: hard-swish rewritten for int8 (see rewrite.py).
      side_by_side: see GrahamNormalisation; for the vector units of phones' CPUs.
      sign: gates of the heat map by SIGN, which keeps them out of 16-bit arithmetic, in place of MINIMUM, which
        keeps the graph of a delegate in one piece.
      batch: fixed batch size, or None for a dynamic one (ONNX on servers; not for phones).
      quality: the graph gives the photograph's quality. Not where a converter rounds to integers, which would not stop
        at its door and leave nothing of its small differences: it is put into the artifact then (tflite/graft.py).
    """

    integer_friendly: bool = False
    side_by_side: bool = True
    sign: bool = False
    batch: int | None = 1
    quality: bool = True


PHONE = Target()
PHONE_INT8 = Target(integer_friendly=True, quality=False)
# Side by side the blur's kernel is large enough for the converter to store it in 8 bits, with one scale for the picture
# (0..255) and its lit weight (0..1): the weight is rounded away. Six channels stay in floating point.
PHONE_DYNAMIC = Target(side_by_side=False, quality=False)
PHONE_INT16 = Target(integer_friendly=True, sign=True, quality=False)
SERVER = Target(side_by_side=False)
SERVER_INT8 = Target(integer_friendly=True, side_by_side=False)


@dataclasses.dataclass(frozen=True)
class DeployableGraph:
    """A Keras model of fixed batch with named outputs, and what it could not hold.

    Attributes:
      model: `image` -> dict of output name -> tensor.
      outputs: the names, in the order of metadata.json.
      head: names of the layers from the last feature map to the logits, which integer formats leave in floating
        point.
      left_out: output name -> why this network cannot give it.
    """

    model: keras.Model
    outputs: tuple[str, ...]
    head: tuple[str, ...]
    left_out: Mapping[str, str]


def deployable_graph(
    network: keras.Model,
    *,
    kind: str,
    preprocess: Mapping[str, Any],
    temperature: float = 1.0,
    features: FeatureStatistics | None = None,
    target: Target = PHONE,
) -> DeployableGraph:
    """Builds the deployable graph around a trained network.

    Args:
      network: flat functional model, [B, S, S, 3] float32 0..255 -> layer `logits`.
      kind: of the task: "classification", "multilabel" or "segmentation".
      preprocess: as the records state it, {"method": "graham" | "crop" | "grey", constants}.
      temperature: logits are divided by it before softmax or sigmoid.
      features: statistics of the penultimate features; without them there is no `ood_distance`.
      target: what will run it.

    Returns:
      The graph; its outputs are `probabilities` [B, C] float32 and `heatmap` [B, h, w] float32 0..1, or for a
      segmentation task `masks` [B, S, S, C] float32 0..1; `ood_distance` [B, 1] float32 >= 0; and `quality` [B, 6]
      float32 0..1, in the order of `quality_layer.NAMES`.

    Raises:
      ValueError: the network has no layer `logits`, no square input, or the preprocessing is unknown.
    """
    side = image_side(network)
    image = keras.Input(batch_shape=(target.batch, side, side, 3), dtype="uint8", name=INPUT_NAME)
    pixels = ops.cast(image, "float32")
    prepared = prepare(pixels, preprocess, target.side_by_side)
    wanted = wanted_tensors(network, kind, features is not None)
    rebuild = rewrite.integer_friendly if target.integer_friendly else rewrite.rebuild
    core = rebuild(wanted.network, target.batch)
    tensors = dict(zip(wanted.names, keras.tree.flatten(core(prepared)), strict=True))
    outputs = app_outputs(tensors, wanted, kind, temperature, features, target) | quality_of(pixels, target)
    left_out = {**wanted.left_out, **_without_quality(side)}
    # An identity of that name gives each output its name in every converter's signature.
    named = {name: keras.layers.Identity(name=name)(tensor) for name, tensor in outputs.items()}
    model = keras.Model(image, named, name="deployable")
    return DeployableGraph(model, tuple(named), wanted.layers, left_out)


def quality_of(pixels: Any, target: Target = PHONE) -> dict[str, Any]:
    """Returns {"quality": [B, 6] float32 0..1} of crops [B, S, S, 3] float32 0..255; {} where it cannot be measured, or
    the target has it put in later.
    """
    if not target.quality or not measures_quality(pixels.shape[1]):
        return {}
    return {QUALITY: PhotographQuality(target.side_by_side, name="photograph_quality")(pixels)}


def measures_quality(side: int) -> bool:
    """Says whether the quality of crops of `side` pixels can be measured."""
    return side >= LEAST_SIZE


def _without_quality(side: int) -> dict[str, str]:
    """Returns {"quality": why graphs of crops of `side` pixels do not give it}; {} where they do."""
    if measures_quality(side):
        return {}
    return {QUALITY: f"a crop of {side} px is too small, {LEAST_SIZE} are needed"}


def quality_graph(side: int) -> keras.Model:
    """Builds the graph of the quality alone: `image` [1, S, S, 3] uint8 -> {"quality": [1, 6] float32}."""
    image = keras.Input(batch_shape=(1, side, side, 3), dtype="uint8", name=INPUT_NAME)
    outputs = quality_of(ops.cast(image, "float32"))
    named = {name: keras.layers.Identity(name=name)(tensor) for name, tensor in outputs.items()}
    return keras.Model(image, named, name="deployable_quality")


@dataclasses.dataclass(frozen=True)
class WantedTensors:
    """What an app's outputs are computed from.

    Attributes:
      network: gives these tensors, in the order of `names`.
      names: of the layers: `logits` first.
      head: for the heat map, or None.
      tail: layers that `cam_features` ends in (see `heads.elementwise_tail`).
      left_out: output name -> why this network cannot give it.
    """

    network: keras.Model
    names: tuple[str, ...]
    head: LinearHead | None
    tail: tuple[str, ...]
    left_out: Mapping[str, str]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that stay in floating point: from the last feature map's sums to the logits."""
        return () if self.head is None else (*self.tail, *self.head.layers)


def wanted_tensors(network: keras.Model, kind: str, with_features: bool) -> WantedTensors:
    """Finds the tensors of a trained network from which the outputs of its task are computed.

    Args:
      network: with a layer `logits`.
      kind: of the task.
      with_features: statistics of the penultimate features exist.

    Raises:
      ValueError: the network has no layer `logits`.
    """
    names, head, left_out = ["logits"], None, {}
    if kind == "segmentation":
        left_out["heatmap"] = "the task has masks as its output"
    else:
        head, reason = linear_head(network)
        if head is None:
            left_out["heatmap"] = reason
        else:
            names += ["cam_features", *head.gates]
    if not with_features:
        left_out["ood_distance"] = "no feature statistics were fitted"
    elif "penultimate" not in names:
        names.append("penultimate")
    exposed = keras.Model(network.input, [layer_output(network, name) for name in names], name=NETWORK_NAME)
    return WantedTensors(exposed, tuple(names), head, elementwise_tail(network), left_out)


def app_outputs(
    tensors: Mapping[str, Any],
    wanted: WantedTensors,
    kind: str,
    temperature: float,
    features: FeatureStatistics | None,
    target: Target,
) -> dict[str, Any]:
    """Computes an app's outputs from the network's tensors, symbolic or not.

    Args:
      tensors: layer name -> its output, for `wanted.names`.
      wanted, kind, temperature, features, target: see `deployable_graph`.

    Returns:
      Output name -> tensor.
    """
    scaled = tensors["logits"] * (1.0 / temperature)
    if kind == "segmentation":
        outputs = {"masks": ops.sigmoid(scaled)}
    else:
        outputs = {"probabilities": ops.sigmoid(scaled) if kind == "multilabel" else ops.softmax(scaled, axis=-1)}
    if wanted.head is not None:
        gates = [tensors[name] for name in wanted.head.gates]
        gate = ops.sign if target.sign else positive
        kernels = wanted.head.kernels
        outputs["heatmap"] = closed_form_grad_cam(tensors["cam_features"], tensors["logits"], gates, kernels, gate)
    if features is not None:
        outputs["ood_distance"] = mahalanobis(tensors["penultimate"], features.means, features.whitening)
    return outputs


def image_side(network: keras.Model) -> int:
    """Returns the side S of a network's [B, S, S, 3] input; ValueError for another shape."""
    shape = network.inputs[0].shape
    if len(network.inputs) != 1 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3 or shape[1] is None:
        raise ValueError(f"Export needs a network with one input [B, S, S, 3] of fixed S. Received: {shape}.")
    return int(shape[1])


def layer_output(network: keras.Model, name: str) -> keras.KerasTensor:
    """Returns the output of the layer `name`; ValueError where there is none."""
    if name not in {layer.name for layer in network.layers}:
        raise ValueError(f"The network {network.name!r} has no layer {name!r}. Build it with that layer name.")
    return network.get_layer(name).output
