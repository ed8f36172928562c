"""Which operations of a .tflite XNNPACK takes, and into how many pieces the rest cuts the graph."""

from __future__ import annotations

import dataclasses

from export.converter_output import quiet_conversion


@dataclasses.dataclass(frozen=True)
class Delegation:
    """How LiteRT splits a graph between XNNPACK and its own kernels.

    Attributes:
      partitions: pieces that XNNPACK runs; 1 means that data goes in and out once.
      delegated: operations in them.
      total: operations of the graph.
      left: names of the operations outside, in the order of execution.
    """

    partitions: int
    delegated: int
    total: int
    left: tuple[str, ...]


def delegation(content: bytes, threads: int = 1) -> Delegation:
    """Loads a flatbuffer with LiteRT's default delegate and reads what it replaced."""
    from ai_edge_litert.interpreter import Interpreter

    with quiet_conversion():
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
    operations = interpreter._get_ops_details()  # the public interface does not tell what was delegated
    pieces = [operation for operation in operations if operation["op_name"] == "DELEGATE"]
    own = [operation for operation in operations if operation["op_name"] != "DELEGATE"]
    producer = {tensor: operation for operation in own for tensor in operation["outputs"]}
    given = {tensor for piece in pieces for tensor in piece["outputs"]}
    # What a piece or the caller reads and no piece gives was computed outside.
    waiting = [tensor for piece in pieces for tensor in piece["inputs"]]
    waiting += [detail["index"] for detail in interpreter.get_output_details()]
    left: dict[int, str] = {}
    while waiting:
        tensor = waiting.pop()
        operation = None if tensor in given else producer.get(tensor)
        if operation is not None and operation["index"] not in left:
            left[operation["index"]] = operation["op_name"]
            waiting += list(operation["inputs"])
    return Delegation(len(pieces), len(own) - len(left), len(own), tuple(left[index] for index in sorted(left)))
