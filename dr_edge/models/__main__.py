"""Lists the networks that can be trained: parameters, MACs, input, ImageNet weights, tested export formats.

  python -m dr_edge.models
  python -m dr_edge.models mobilenet_v2_cbam        # all of one, with the lines of a gin file that ask for it
  python -m dr_edge.models --json

Needs no TensorFlow: the figures are kept in a file, which a test holds against the networks. --measure builds the named
networks, or all of them, and writes that file anew: it is for those who add one.
"""

from __future__ import annotations

import json

from absl import app, flags

from dr_edge import command
from dr_edge.models import listing, registry

FLAGS = flags.FLAGS

flags.DEFINE_boolean("json", False, "Print a JSON document instead of tables.")
flags.DEFINE_boolean("measure", False, "Measure the networks and write dr_edge/models/measured.json (with TensorFlow).")


def main(argv: list[str]) -> int:
    """Lists, or measures; returns the exit status."""
    names = argv[1:]
    if FLAGS.measure:
        from dr_edge import extras, native_output

        extras.require("train", "models --measure")
        native_output.import_tensorflow()
        from dr_edge.models import measure

        rows = measure.write(names)
    else:
        rows = listing.read()
    known = sorted({row["name"] for row in rows})
    for name in names:
        if name not in known:
            raise app.UsageError(registry.unknown(name, known, "network"))
    shown = [row for row in rows if row["name"] in names] if names else rows
    if FLAGS.json:
        print(json.dumps({listing.ROWS: shown}, indent=1))
    elif names:
        print("\n\n".join(listing.details(row) for row in shown))
    else:
        print(listing.table(shown))
    return 0


if __name__ == "__main__":
    FLAGS.set_gnu_getopt(True)  # flags may stand after names
    command.run(main)
