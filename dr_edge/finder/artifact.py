"""The finder as a TFLite file: builtin operations on fixed shapes, no weights, no control flow."""

from __future__ import annotations

import tempfile
from typing import Any

from dr_edge.finder.graph import locate
from dr_edge.finder.grid import SIDE
from dr_edge.framework import tf

SIGNATURE = "locate"


def as_function(batch: int = 1) -> Any:
    """Returns the finder as a concrete function.

    Its arguments are `thumbnail` [B, 256, 256, 3] uint8 and `size` [B, 2] float32, its outputs are named as the fields
    of `graph.Location`.
    """
    shapes = [
        tf.TensorSpec([batch, SIDE, SIDE, 3], tf.uint8, name="thumbnail"),
        tf.TensorSpec([batch, 2], tf.float32, name="size"),
    ]
    made = tf.function(lambda thumbnail, size: locate(thumbnail, size)._asdict(), input_signature=shapes)
    return made.get_concrete_function()


def as_tflite() -> bytes:
    """Returns the flatbuffer, for a batch of 1, with the signature SIGNATURE."""
    module = tf.Module()
    module.locate = as_function()
    with tempfile.TemporaryDirectory() as directory:
        tf.saved_model.save(module, directory, signatures={SIGNATURE: module.locate})
        content = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=[SIGNATURE]).convert()
    return _without_names(content)


def _without_names(content: bytes) -> bytes:
    """Drops what no runtime reads: names of inner tensors, empty descriptions, and constants that stand twice."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    outside = {*graph.inputs, *graph.outputs}
    kept, seen = [model.buffers[0]], {b"": 0}
    for index, tensor in enumerate(graph.tensors):
        constant = model.buffers[tensor.buffer]
        data = b"" if constant.data is None else bytes(constant.data)
        if data not in seen:
            seen[data] = len(kept)
            kept.append(constant)
        tensor.buffer = seen[data]
        tensor.quantization = tensor.shapeSignature = None
        if index not in outside:
            tensor.name = None
    model.buffers, model.metadata, model.metadataBuffer, model.description = kept, None, None, None
    builder = flatbuffers.Builder(1 << 18)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
