"""Keeps converters from filling the terminal with lines that say nothing to the user."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

from absl import logging as absl_logging

_CHATTY = ("tensorflow", "tf2onnx")


@contextlib.contextmanager
def quiet_conversion() -> Iterator[None]:
    """Holds back what converters and runtimes print, in Python and natively, and warn of.

    An exception passes, and what was held back is printed before it. With TF_CPP_MIN_LOG_LEVEL=0 in the environment
    nothing is held back.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    absl_level = absl_logging.get_verbosity()
    levels = {name: logging.getLogger(name).level for name in _CHATTY}
    with tempfile.TemporaryFile() as held:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
        try:
            for name in _CHATTY:
                logging.getLogger(name).setLevel(logging.ERROR)
            absl_logging.set_verbosity(absl_logging.ERROR)
            for descriptor in kept:
                os.dup2(held.fileno(), descriptor)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except BaseException:
            sys.stdout.flush()
            held.seek(0)
            os.write(kept[2], held.read())
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, original in kept.items():
                os.dup2(original, descriptor)
                os.close(original)
            absl_logging.set_verbosity(absl_level)
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
