"""Mixed precision: 16-bit arithmetic with float32 weights, and the float32 network that is validated and saved.

bfloat16 has float32's range and needs nothing else; float16's gradients underflow, so the loss is scaled (and a step
whose gradients overflow is left out, as keras.optimizers.LossScaleOptimizer does).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dr_edge.framework import keras

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def check(precision: str) -> None:
    """Raises ValueError where train.precision is none of POLICIES."""
    if precision not in POLICIES:
        raise ValueError(f"train.precision must be one of {', '.join(POLICIES)}. Received: {precision!r}.")


@contextmanager
def policy(precision: str) -> Iterator[None]:
    """Lets the layers made inside compute in `precision`, and restores Keras's setting afterwards."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def scaled(optimizer: keras.Optimizer, precision: str) -> keras.Optimizer:
    """Returns the optimizer, inside a LossScaleOptimizer where `precision` is float16."""
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "float16" else optimizer


def float32_twin(network: keras.Model) -> keras.Model:
    """Returns a network of the same architecture, names and order of weights in float32; weights are not copied."""
    with policy("float32"):  # for layers that are made of layers
        twin = network.__class__.from_config(_in_float32(network.get_config()))
    if [variable.shape for variable in twin.variables] != [variable.shape for variable in network.variables]:
        raise RuntimeError(
            f"{network.name} cannot be rebuilt from its configuration: the weights come in another order."
        )
    return twin


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Assigns the weights of `source` to `target`, its twin."""
    for left, right in zip(source.variables, target.variables, strict=True):
        right.assign(keras.ops.convert_to_numpy(left))


def _in_float32(config: Any) -> Any:
    """Returns a copy of a model's configuration in which each layer's own precision is float32."""
    if isinstance(config, list):
        return [_in_float32(value) for value in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return {**config, "config": {**config["config"], "name": "float32"}}
    return {key: _in_float32(value) for key, value in config.items()}
