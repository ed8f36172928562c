"""The subcommands of `dr-edge`, in the order of the chain, and how a command is typed by whoever called this process.

`dr-edge train` is `python -m dr_edge.train`: the same module with the same flags. Texts in the code name commands in
the second form; `as_called` turns them into the first where that was typed. Standard library only, and little of it:
`dr-edge --help` shows nothing but this table.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

CALLED_AS = "DR_EDGE_CALLED_AS"  # environment: "dr-edge", or "python -m dr_edge"; child processes speak alike


class Subcommand(NamedTuple):
    """One subcommand.

    Attributes:
      module: `python -m MODULE` is the same command.
      reads, leaves: what comes in and what goes out, in a few words.
      first: arguments that stand before those that are typed.
    """

    module: str
    reads: str
    leaves: str
    first: tuple[str, ...] = ()


SUBCOMMANDS = {
    "build": Subcommand("tfrecord_tools.build", "photographs", "RECORDS: cropped, split by patient, as TFRecords"),
    "verify": Subcommand("tfrecord_tools.verify", "RECORDS", "which bytes have changed, if any"),
    "inspect": Subcommand("tfrecord_tools.inspect", "RECORDS", "a picture of what the model will see"),
    "train": Subcommand("dr_edge.train", "RECORDS, gin file", "RUN: the best model, its settings and metrics"),
    "evaluate": Subcommand("dr_edge.evaluate", "RUN", "RUN/evaluation: verdict, metrics, report.html"),
    "compare": Subcommand("dr_edge.evaluate", "two evaluated RUNs", "their differences, with intervals", ("compare",)),
    "explain": Subcommand("dr_edge.explain", "RUN, photographs", "heat maps and a page that shows them"),
    "export": Subcommand("export", "RUN", "BUNDLE: TFLite and ONNX, compared with Keras, model card"),
    "bench": Subcommand("android_bench", "BUNDLE, a phone", "latency: bench.json, tables, plots"),
    "predict": Subcommand("dr_edge.predict", "BUNDLE, photographs", "answers as JSON, pictures"),
    "serve": Subcommand("dr_edge.serve", "BUNDLE", "a web page and an HTTP API that answer"),
    "tune": Subcommand("dr_edge.tune", "RECORDS, gin file", "a RUN per trial, the best settings"),
    "demo": Subcommand("dr_edge.demo", "nothing", "the whole chain on drawn images"),
    "models": Subcommand("dr_edge.models", "nothing", "the networks that can be trained, with their sizes"),
}
# What is typed behind `python -m`: "dr_edge.evaluate compare" is a subcommand of its own.
NAMES = {" ".join((entry.module, *entry.first)): name for name, entry in SUBCOMMANDS.items()}
# Not `python -m dr_edge.serve.vendor`, which has no subcommand; a point that ends a sentence may follow.
_TYPED = re.compile(rf"\bpython -m ({'|'.join(map(re.escape, sorted(NAMES, key=len, reverse=True)))})(?!\.?\w)")


def as_called(text: str) -> str:
    """Returns `text` with each "python -m MODULE" that has a subcommand as that, where this process was called so."""
    program = os.environ.get(CALLED_AS)
    return _TYPED.sub(lambda found: f"{program} {NAMES[found[1]]}", text) if program else text
