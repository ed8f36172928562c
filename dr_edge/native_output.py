"""Holds back what native code prints before and beside any logging, so that what a user must read stands out."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from absl import logging

from dr_edge import scratch

STDOUT, STDERR = 1, 2
NO_GPU = ("-1", "none", "void", "nodevfiles")  # what people write into CUDA_VISIBLE_DEVICES for the CPU


@contextlib.contextmanager
def held_back(*descriptors: int) -> Iterator[None]:
    """Holds back what is written to file descriptors, natively too; where an exception passes, it is printed before.

    With TF_CPP_MIN_LOG_LEVEL=0 in the environment nothing is held back.

    Args:
      descriptors: STDOUT, STDERR or both; none means STDERR.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {descriptor: os.dup(descriptor) for descriptor in {STDERR, *descriptors}}
    with tempfile.TemporaryFile() as held:
        try:
            for descriptor in descriptors or (STDERR,):
                os.dup2(held.fileno(), descriptor)
            yield
        except BaseException:
            sys.stdout.flush()
            sys.stderr.flush()
            held.seek(0)
            os.write(kept[STDERR], held.read())
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, original in kept.items():
                os.dup2(original, descriptor)
                os.close(original)


def import_tensorflow() -> None:
    """Imports TensorFlow and looks for devices without the dozen lines that its native code prints meanwhile.

    The lines (instruction sets, missing CUDA drivers) tell a user of this project nothing and hide what does. Warns
    where CUDA_VISIBLE_DEVICES was to choose a GPU and none is found, which TensorFlow itself does in silence.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    scratch.of_process("tensorflow")  # it writes the source of every tf.function there
    if "tensorflow" in sys.modules:
        from dr_edge import framework  # noqa: F401 - its settings are those of the whole process

        return
    with held_back():
        from dr_edge.framework import tf

        found = tf.config.list_physical_devices("GPU")
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "").strip()
    if not found and chosen and chosen.lower() not in NO_GPU:
        logging.warning(
            "CUDA_VISIBLE_DEVICES=%s, but no GPU is found: going on with the CPU. It takes numbers, as 0 or 0,1, or -1 "
            "for none.",
            chosen,
        )
