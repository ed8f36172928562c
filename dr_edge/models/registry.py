"""The one list of networks, which the functions that build them fill themselves.

  @register("mobilenet_v3_small_cbam", image_size=512, formats=PHONE, arguments={"variant": "small"}, ...)
  @gin.configurable(module="models")
  def mobilenet_v3_cbam(...):

A network that is registered is listed by `dr-edge models`, can be built by `dr_edge.build_model`, and is held to what
it claims by tests/test_model_contract.py; nothing else is to be done for it but `python -m dr_edge.models --measure`.
What is measured of the networks stands in measured.json, so that a list of them needs no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

MODEL, BACKBONE, ENCODER = "model", "backbone", "encoder"
KINDS = (MODEL, BACKBONE, ENCODER)
TASKS = ("classification", "multilabel", "segmentation")
KERAS, KERAS_HUB = "keras.applications", "keras-hub"  # where ImageNet weights come from
# Names of export/formats.py. What a model claims is what the contract test makes of it and compares with Keras.
SERVER = ("float32", "onnx_float32")
FLOATS = ("float32", "float16", "onnx_float32")
PHONE = ("float32", "float16", "dynamic_int8", "static_int8", "int16x8", "onnx_float32", "onnx_static_int8")

Builder = TypeVar("Builder", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Entry:
    """One network.

    Attributes:
      name: unique among those of its kind.
      kind: "model" (image_size, outputs) -> keras.Model; "backbone": [B, S, S, 3] -> the last feature map; "encoder":
        [B, S, S, 3] -> the maps of a UNet's skips, fine to coarse.
      builder: the function, a gin configurable.
      arguments: that make this network of it, as gin binds them; functools.partial of another configurable binds the
        arguments of that one, too.
      image_size: default side of the input in pixels, at which MACs are counted.
      outputs: default number of logits of a model; 0 of the others.
      task: of a model, one of TASKS; "" of the others.
      backbone: of a model: the registered backbone or encoder that it stands on; "" for none.
      weights: where its ImageNet weights come from: KERAS, KERAS_HUB or "" for none.
      formats: of a model: the export formats that are tested.
      heat_map: a classifier's artifacts hold a heat map: Grad-CAM in closed form, of the layer `cam_features`.
      extra: the extra of pyproject.toml that it needs; "" for none.
    """

    name: str
    kind: str
    builder: Callable[..., Any]
    arguments: Mapping[str, Any]
    image_size: int
    outputs: int = 0
    task: str = ""
    backbone: str = ""
    weights: str = ""
    formats: tuple[str, ...] = ()
    heat_map: bool = False
    extra: str = ""

    @property
    def configurable(self) -> str:
        """The function's name in gin, for example "models.unet"."""
        return gin_name(self.builder)

    @property
    def bindings(self) -> tuple[str, ...]:
        """The lines of a gin file that ask for a model: train.model and the arguments."""
        lines = [f"train.model = @{self.configurable}"] if self.kind == MODEL else []
        for name, value in self.arguments.items():
            function = value.func if isinstance(value, functools.partial) else value
            text = f"@{gin_name(function)}" if callable(function) else repr(value)
            lines.append(f"{self.configurable}.{name} = {text}")
            if function is not value:
                lines += [f"{gin_name(function)}.{inner} = {bound!r}" for inner, bound in value.keywords.items()]
        return tuple(lines)


_ENTRIES: dict[tuple[str, str], Entry] = {}


def register(
    name: str, *, kind: str = MODEL, image_size: int, arguments: Mapping[str, Any] | None = None, **stated: Any
) -> Callable[[Builder], Builder]:
    """Lists the decorated function's network under a name; to be repeated for each set of arguments that is a network.

    Args:
      name, kind, image_size, arguments: see `Entry`.
      **stated: its further attributes; a model is a classifier of two classes with a heat map where nothing is stated.

    Raises:
      ValueError: the name is taken, or what is stated does not fit the kind.
    """
    if kind == MODEL:
        stated = {"outputs": 2, "task": TASKS[0], **stated}
        stated.setdefault("heat_map", stated["task"] != "segmentation")

    def listed(builder: Builder) -> Builder:
        entry = Entry(name, kind, builder, dict(arguments or {}), image_size, **stated)
        _check(entry)
        _ENTRIES[kind, name] = entry
        return builder

    return listed


def entries(kind: str | None = None) -> list[Entry]:
    """Returns all networks, or those of a kind, sorted by kind and name. Imports TensorFlow."""
    load()
    found = sorted(_ENTRIES.values(), key=lambda entry: (KINDS.index(entry.kind), entry.name))
    return [entry for entry in found if kind in (None, entry.kind)]


def find(name: str, kind: str = MODEL) -> Entry:
    """Returns the network of that name. Imports TensorFlow.

    Raises:
      ValueError: there is none; says the nearest name.
    """
    known = {entry.name: entry for entry in entries(kind)}
    if name not in known:
        raise ValueError(unknown(name, list(known), kind))
    return known[name]


def unknown(name: str, known: list[str], kind: str = MODEL) -> str:
    """Returns the words for a name that is not known."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"No {kind} {name!r}.{hint} Known: {', '.join(known)}."


def build(
    entry: Entry, image_size: int | None = None, outputs: int | None = None, arguments: Mapping[str, Any] | None = None
) -> Any:
    """Builds a network as a Keras model. Imports TensorFlow.

    Args:
      entry: from `find` or `entries`.
      image_size, outputs: in place of the entry's; outputs of a model only.
      arguments: of its function, in place of the entry's or beside them.

    Returns:
      [B, S, S, 3] float32 0..255 -> logits [B, outputs], or [B, S, S, outputs] of a segmentation; of a backbone or an
      encoder its map or maps.
    """
    side = entry.image_size if image_size is None else image_size
    given = {**entry.arguments, **(arguments or {})}
    if entry.kind == MODEL:
        return entry.builder(side, entry.outputs if outputs is None else outputs, **given)
    from dr_edge.framework import keras

    inputs = keras.Input((side, side, 3), name="image")
    return keras.Model(inputs, entry.builder(inputs, **given), name=entry.name)


def load() -> None:
    """Imports every module of this package, so that each has registered its networks."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name != "__main__":
            importlib.import_module(f"{__package__}.{module.name}")


def gin_name(function: Callable[..., Any]) -> str:
    """Returns a configurable's name in gin, for example "backbones.mobilenet_v2"."""
    import gin

    return str(gin.config._inverse_lookup(function).selector)  # gin has no public way from a function to its name


def _check(entry: Entry) -> None:
    where = f"{entry.kind} {entry.name!r}"
    if entry.kind not in KINDS:
        raise ValueError(f"{where}: a kind of {KINDS} is needed.")
    if (entry.kind, entry.name) in _ENTRIES:
        raise ValueError(f"{where} is registered already, by {_ENTRIES[entry.kind, entry.name].configurable}.")
    if entry.kind == MODEL and (not entry.formats or entry.outputs < 1 or entry.task not in TASKS):
        raise ValueError(f"{where} states formats, outputs and a task of {TASKS}. Received: {entry}.")
    if entry.kind != MODEL and (entry.formats or entry.outputs or entry.task or entry.heat_map):
        raise ValueError(f"{where}: formats, outputs, task and heat map are stated of models. Received: {entry}.")
