"""Holds back what native code prints before and beside any logging, so that what a user must read stands out."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

STDOUT, STDERR = 1, 2


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

    The lines (instruction sets, missing CUDA drivers) tell a user of this project nothing and hide what does. A
    TF_USE_LEGACY_KERAS left in the environment by other work is dropped: `tf.keras`, by which tf-keras-vis builds its
    models, must be Keras 3.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.pop("TF_USE_LEGACY_KERAS", None)
    if "tensorflow" in sys.modules:
        return
    with held_back():
        import tensorflow as tf

        tf.config.list_physical_devices()
