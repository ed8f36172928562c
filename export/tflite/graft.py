"""Puts one TFLite graph beside another that reads the same input: one file, one run, the outputs of both.

For what a converter to integers must not round: int16x8 takes every operation of a graph to 16 bits and has no list of
exceptions, and static_int8 rounds some results of operations that its list leaves in floating point.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

VERSION_ENTRY = b"min_runtime_version"


def grafted(content: bytes, scion: bytes) -> bytes:
    """Returns `content` with the operations and outputs of `scion` added.

    Args:
      content: flatbuffer with one subgraph, one input and one signature.
      scion: another one, whose only input has the shape and type of that of `content`.

    Returns:
      A flatbuffer whose signature gives the outputs of both, those of `content` first.

    Raises:
      ValueError: the inputs differ, or an output of both has the same name.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    stock, added = (schema.ModelT.InitFromPackedBuf(each) for each in (content, scion))
    graph, other = stock.subgraphs[0], added.subgraphs[0]
    _check(stock, added)
    codes = _joined_codes(stock, added)
    place = _joined_tensors(stock, added)
    for operation in other.operators:
        operation.opcodeIndex = codes[operation.opcodeIndex]
        operation.inputs = [place.get(index, index) for index in operation.inputs]  # -1: an input left out
        operation.outputs = [place[index] for index in operation.outputs]
        graph.operators.append(operation)
    graph.outputs = [*graph.outputs, *(place[index] for index in other.outputs)]
    for output in added.signatureDefs[0].outputs:
        output.tensorIndex = place[output.tensorIndex]
        stock.signatureDefs[0].outputs.append(output)
    _state_later_version(stock, added)
    return _packed(stock)


def _check(stock: Any, added: Any) -> None:
    inputs = []
    for model in (stock, added):
        if len(model.subgraphs) != 1 or len(model.subgraphs[0].inputs) != 1 or len(model.signatureDefs or ()) != 1:
            raise ValueError("Graphs of one subgraph, one input and one signature are needed.")
        tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
        inputs.append(([int(size) for size in tensor.shape], tensor.type))
    if inputs[0] != inputs[1]:
        raise ValueError(f"The inputs (shape, type) differ: {inputs[0]} and {inputs[1]}.")
    names = [{output.name for output in model.signatureDefs[0].outputs} for model in (stock, added)]
    if names[0] & names[1]:
        raise ValueError(f"Both graphs give {sorted(name.decode() for name in names[0] & names[1])}.")


def _joined_codes(stock: Any, added: Any) -> list[int]:
    """Adds the operation codes that are new; returns the new place of each of `added`."""

    def key(code: Any) -> tuple[Any, ...]:
        return code.builtinCode, code.deprecatedBuiltinCode, code.customCode, code.version

    known = {key(code): index for index, code in enumerate(stock.operatorCodes)}
    for code in added.operatorCodes:
        if key(code) not in known:
            known[key(code)] = len(stock.operatorCodes)
            stock.operatorCodes.append(code)
    return [known[key(code)] for code in added.operatorCodes]


def _joined_tensors(stock: Any, added: Any) -> dict[int, int]:
    """Adds the tensors with their constants; returns the new place of each of `added`, of its input that of `stock`."""
    graph, other = stock.subgraphs[0], added.subgraphs[0]
    place = {other.inputs[0]: graph.inputs[0]}
    for index, tensor in enumerate(other.tensors):
        if index in place:
            continue
        place[index] = len(graph.tensors)
        joined = copy.copy(tensor)
        if added.buffers[tensor.buffer].data is None:
            joined.buffer = 0  # by convention the empty one
        else:
            joined.buffer = len(stock.buffers)
            stock.buffers.append(added.buffers[tensor.buffer])
        graph.tensors.append(joined)
    return place


def _state_later_version(stock: Any, added: Any) -> None:
    """Lets the file state the later of the two oldest runtimes."""
    entries = [
        {entry.name: model.buffers[entry.buffer] for entry in model.metadata or ()}.get(VERSION_ENTRY)
        for model in (stock, added)
    ]
    own, others = entries
    if own is not None and others is not None and _version(others) > _version(own):
        own.data = others.data


def _version(buffer: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in bytes(np.asarray(buffer.data, np.uint8)).rstrip(b"\0").split(b"."))


def _packed(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
