"""Rewrites of an ONNX graph that ONNX Runtime does not make by itself.

docs/results.md (ONNX graphs) has what is lost without them: a quarter of MobileNetV3-Large's latency at 512 px,
nothing of small graphs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

ELEMENTWISE = ("Add", "Sub", "Mul", "Div")


def fuse_hard_sigmoid(proto: Any) -> Any:
    """Replaces Clip(x + 3, 0, 6) * (1 / 6) by HardSigmoid(x), in place; three passes over a tensor become one.

    Args:
      proto: ModelProto.

    Returns:
      The same ModelProto.
    """
    from onnx import helper

    graph = proto.graph
    constants = _scalars(graph)
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    kept_outputs = {value.name for value in graph.output}
    replaced: dict[str, Any] = {}
    dropped: set[str] = set()
    for node in graph.node:
        add = _only_user(node, users, kept_outputs) if node.op_type == "Add" else None
        if add is None or add.op_type != "Clip":
            continue
        source = _other_input(node, constants, 3.0)
        limits = [constants.get(name) for name in add.input[1:]]
        multiply = _only_user(add, users, kept_outputs)
        if source is None or limits != [0.0, 6.0] or multiply is None or multiply.op_type != "Mul":
            continue
        if _other_input(multiply, constants, 1 / 6) != add.output[0]:
            continue
        fused = helper.make_node("HardSigmoid", [source], [multiply.output[0]], name=f"{node.name}/hard_sigmoid")
        fused.attribute.extend([helper.make_attribute("alpha", 1 / 6), helper.make_attribute("beta", 0.5)])
        replaced[multiply.output[0]] = fused
        dropped |= {node.output[0], add.output[0]}
    nodes = []
    for node in graph.node:
        if node.output[0] in replaced:
            nodes.append(replaced[node.output[0]])
        elif node.output[0] not in dropped:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return drop_unused(proto)


def express_erfc(proto: Any) -> Any:
    """Replaces Erfc(x), which ONNX lacks and in which Keras' exact GELU ends, by 1 - Erf(x), in place.

    Args:
      proto: ModelProto.

    Returns:
      The same ModelProto.
    """
    from onnx import helper, numpy_helper

    graph = proto.graph
    if not any(node.op_type == "Erfc" for node in graph.node):
        return proto
    one = "one_of_erfc"
    graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), one))
    nodes: list[Any] = []
    for node in graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        inner = f"{node.output[0]}/erf"
        nodes.append(helper.make_node("Erf", [node.input[0]], [inner], name=f"{node.name}/erf"))
        nodes.append(helper.make_node("Sub", [one, inner], node.output, name=node.name))
    del graph.node[:]
    graph.node.extend(nodes)
    return proto


def share_transposes(proto: Any) -> Any:
    """Moves elementwise nodes in front of a Transpose where their other input exists transposed already, in place.

    `op(x, Transpose(y))` becomes `Transpose(op(x', y))` if some node computes x' = Transpose(x) anyway: one layout
    conversion less, and the remaining one can be cancelled further down.

    Args:
      proto: ModelProto; its nodes are in topological order.

    Returns:
      The same ModelProto.
    """
    from onnx import helper

    graph = proto.graph
    order = {node.output[0]: _order(node) for node in graph.node if node.op_type == "Transpose"}
    source = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Transpose"}
    transposed = {(source[name], tuple(order[name])): name for name in order}
    nodes, known = [], {value.name for value in (*graph.input, *graph.initializer)}
    for node in graph.node:
        known |= set(node.output)
        moved = None
        if node.op_type in ELEMENTWISE and len(node.input) == 2:
            for one, other in ((0, 1), (1, 0)):
                name = node.input[other]
                inverse = None if name not in order else tuple(int(axis) for axis in np.argsort(order[name]))
                twin = None if inverse is None else transposed.get((node.input[one], inverse))
                if twin in known:
                    moved = [twin, source[name]] if one == 0 else [source[name], twin]
                    permutation = order[name]
                    break
        if moved is None:
            nodes.append(node)
            continue
        inner = f"{node.output[0]}/moved"
        nodes.append(helper.make_node(node.op_type, moved, [inner], name=node.name))
        back = helper.make_node("Transpose", [inner], node.output, name=f"{node.name}/back", perm=permutation)
        nodes.append(back)
    del graph.node[:]
    graph.node.extend(nodes)
    return drop_unused(proto)


def use_global_pools(proto: Any) -> Any:
    """Replaces the mean and the maximum over height and width by global pools, for which ONNX Runtime needs no copy
    into another layout, in place.

    Args:
      proto: ModelProto of NCHW graphs.

    Returns:
      The same ModelProto.
    """
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    pools = {"ReduceMean": "GlobalAveragePool", "ReduceMax": "GlobalMaxPool"}
    for node in proto.graph.node:
        if node.op_type not in pools or len(node.input) < 2 or node.input[1] not in constants:
            continue
        axes = sorted(numpy_helper.to_array(constants[node.input[1]]).tolist())
        keeps = all(attribute.i == 1 for attribute in node.attribute if attribute.name == "keepdims")
        if axes == [2, 3] and keeps:
            pool = helper.make_node(pools[node.op_type], [node.input[0]], node.output, name=node.name)
            node.CopyFrom(pool)
    return drop_unused(proto)


def drop_unused(proto: Any) -> Any:
    """Drops nodes and constants that no output needs, in place; returns the same ModelProto."""
    graph = proto.graph
    needed = {value.name for value in graph.output}
    nodes = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(nodes))
    graph.initializer.extend(initializers)
    return proto


def _order(node: Any) -> list[int]:
    """Returns the permutation of a Transpose node."""
    return next(list(attribute.ints) for attribute in node.attribute if attribute.name == "perm")


def reshape_trivial_transposes(proto: Any) -> Any:
    """Replaces each Transpose that moves axes of size 1 only by a Reshape, which copies nothing, in place.

    Args:
      proto: ModelProto of which shape inference knows the sizes.

    Returns:
      The same ModelProto.
    """
    import onnx
    from onnx import helper, numpy_helper

    inferred = onnx.shape_inference.infer_shapes(proto)
    shapes = {
        value.name: [dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.graph.value_info, *inferred.graph.input)
    }
    for index, node in enumerate(proto.graph.node):
        shape = shapes.get(node.input[0])
        if node.op_type != "Transpose" or shape is None:
            continue
        order = _order(node)
        if [axis for axis in order if shape[axis] != 1] != [axis for axis in range(len(shape)) if shape[axis] != 1]:
            continue
        if sum(size is None for size in shape) > 1:
            continue
        target = np.array([-1 if shape[axis] is None else shape[axis] for axis in order], np.int64)
        name = f"{node.output[0]}/shape"
        proto.graph.initializer.append(numpy_helper.from_array(target, name))
        proto.graph.node[index].CopyFrom(
            helper.make_node("Reshape", [node.input[0], name], node.output, name=node.name)
        )
    return proto


def _scalars(graph: Any) -> dict[str, float]:
    """Returns the value of each constant of one element."""
    from onnx import numpy_helper

    values = {}
    for tensor in graph.initializer:
        if int(np.prod(tensor.dims)) == 1:
            values[tensor.name] = round(float(numpy_helper.to_array(tensor).reshape(-1)[0]), 6)
    return values


def _only_user(node: Any, users: dict[str, list[Any]], outputs: set[str]) -> Any | None:
    """Returns the one node that reads `node`'s output, or None where several do or the caller does."""
    readers = users.get(node.output[0], [])
    return readers[0] if len(readers) == 1 and node.output[0] not in outputs else None


def _other_input(node: Any, constants: dict[str, float], value: float) -> str | None:
    """Returns the input of a node of two inputs beside the constant `value`, or None where it has none."""
    for index, name in enumerate(node.input):
        if name in constants and abs(constants[name] - value) < 1e-5:
            return node.input[1 - index]
    return None
