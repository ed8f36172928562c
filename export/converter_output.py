"""Keeps converters from filling the terminal with lines that say nothing to the user."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator

from absl import logging as absl_logging

from dr_edge.native_output import STDERR, STDOUT, held_back

_CHATTY = ("tensorflow", "tf2onnx")


@contextlib.contextmanager
def quiet_conversion() -> Iterator[None]:
    """Holds back what converters and runtimes print, in Python and natively, and warn of.

    An exception passes, and what was held back is printed before it. With TF_CPP_MIN_LOG_LEVEL=0 in the environment
    nothing is held back.
    """
    absl_level = absl_logging.get_verbosity()
    levels = {name: logging.getLogger(name).level for name in _CHATTY}
    with held_back(STDOUT, STDERR), warnings.catch_warnings():
        try:
            if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "0":
                warnings.simplefilter("ignore")
                absl_logging.set_verbosity(absl_logging.ERROR)
                for name in _CHATTY:
                    logging.getLogger(name).setLevel(logging.ERROR)
            yield
        finally:
            absl_logging.set_verbosity(absl_level)
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
