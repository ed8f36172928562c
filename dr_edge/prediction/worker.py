"""A process that answers photographs for `workers.py`, which starts it with pipes; not a command for people."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from typing import Any, BinaryIO

import cv2

from dr_edge.prediction.answering import answered
from dr_edge.prediction.predictor import Predictor


def main() -> None:
    """Answers requests from standard input, each a pickle, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get among the answers, nor into the document
    cv2.setNumThreads(1)  # one photograph per process; the processes share the cores
    try:
        bundle, threads = pickle.load(source)
        predictor = Predictor(bundle, threads)
    except EOFError:
        return
    except Exception as err:
        _send(sink, _portable(err))
        return
    _send(sink, "ready")
    while True:
        try:
            photograph, heat_maps = pickle.load(source)
        except EOFError:  # the parent has ended, or needs no more
            return
        try:
            reply: Any = answered(predictor, photograph, heat_maps)
        except Exception as err:
            reply = _portable(err)
        _send(sink, reply)


def _send(sink: BinaryIO, reply: Any) -> None:
    try:
        pickle.dump(reply, sink, pickle.HIGHEST_PROTOCOL)
        sink.flush()
    except BrokenPipeError:  # the parent was killed
        sys.exit(1)


def _portable(err: Exception) -> Exception:
    """Returns an exception that the parent can raise, with the lines that only this process knows."""
    err.add_note("".join(traceback.format_exception(err)))
    try:
        pickle.loads(pickle.dumps(err))
    except Exception:
        return RuntimeError(f"{type(err).__name__}: {err}")
    return err
