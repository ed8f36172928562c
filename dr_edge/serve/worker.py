"""A process of the server that decodes and grades strangers' photographs, so that a decoder that crashes takes only it.

Started by `pool.py` with pipes as standard input and output; not a command for people. It has no socket and no path
from a request, may write no file, dumps no core, and its memory and processor time are limited (on Linux).
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from dr_edge.fundus.header_types import PhotographError
from dr_edge.prediction import flow, pictures
from dr_edge.prediction.bundle import Bundle, OperatingPoint
from dr_edge.prediction.predictor import Predictor
from dr_edge.prediction.schema import SCHEMA, SCHEMA_VERSION
from dr_edge.serve import frames

BYTES_PER_PIXEL = 40  # a 16-bit RGBA picture, its 8-bit copy, and what is laid over black, at the same time
HEADROOM = 512 << 20
MAX_TRACE = 8000  # characters of a traceback that reach the log


def main() -> None:
    """Answers frames from standard input until it is closed."""
    # The end of a service reaches all its processes (systemd). The server ends its workers, after their photographs.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get into a frame
    cv2.setNumThreads(1)  # one photograph per process; the processes share the cores
    try:
        head, content = _receive(source)
    except EOFError:  # the server ended while this worker started
        return
    predictor = Predictor(_bundle(head, content), head["threads"], head["max_pixels"])
    side = predictor.bundle.image_size
    predictor.warm_up(np.zeros((side, side, 3), np.uint8))
    _limit_resources(head["max_pixels"])
    _send(sink, {"ready": os.getpid()})
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders would fill the log with remarks on strangers' files
    os.dup2(2, 1)
    while True:
        try:
            request, data = _receive(source)
        except EOFError:
            return
        _limit_cpu(head["cpu_seconds"])
        _send(sink, _answer(predictor, request, data))


def _bundle(head: dict[str, Any], content: bytes) -> Bundle:
    point = head["operating_point"]
    return Bundle(
        Path(head["directory"]), head["manifest"], head["artifact"], head["sha256"], content,
        None if point is None else OperatingPoint(**point), head["min_quality"],
    )  # fmt: skip


def _answer(predictor: Predictor, request: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Returns the reply; {"failed", "trace"} where the fault is not the photograph's, so that nobody is told so."""
    try:
        return _graded(predictor, request, data)
    except PhotographError as err:
        return {"refused": {"reason": err.reason, "message": str(err)}}
    except MemoryError:
        return {"refused": {"reason": "too many pixels", "message": "It needs more memory than is allowed."}}
    except Exception as err:
        return {"failed": type(err).__name__, "trace": traceback.format_exc()[-MAX_TRACE:]}


def _graded(predictor: Predictor, request: dict[str, Any], data: bytes) -> dict[str, Any]:
    result = predictor.predict(data, request["label"])
    drawn = None
    if request["pictures"] and result.crop is not None:
        drawn = pictures.data_urls(predictor.bundle, result.answer, result.crop, result.outputs)
    head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "bundle": flow.description(predictor.bundle)}
    answer = {**head, **result.answer.to_json(), "pictures": drawn}
    return {"status": result.answer.status, "answer": json.dumps(answer, allow_nan=False)}


def _receive(source: BinaryIO) -> tuple[dict[str, Any], bytes]:
    prefix = source.read(frames.PREFIX.size)
    if len(prefix) < frames.PREFIX.size:
        raise EOFError
    head, body = frames.unpack_prefix(prefix)
    text, data = source.read(head), source.read(body)
    if len(text) < head or len(data) < body:
        raise EOFError
    return json.loads(text), data


def _send(sink: BinaryIO, head: dict[str, Any]) -> None:
    sink.write(frames.pack(head))
    sink.flush()


def _limit_resources(max_pixels: int) -> None:
    """Forbids files and cores, and bounds the memory by what the largest permitted photograph needs."""
    if sys.platform != "linux":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + max_pixels * BYTES_PER_PIXEL + HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _limit_cpu(seconds: int) -> None:
    """Lets this process use `seconds` more of processor time; then the kernel ends it (SIGXCPU)."""
    if sys.platform != "linux":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(used.ru_utime + used.ru_stime + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
