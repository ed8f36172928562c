"""Answers fundus photographs with an exported bundle: JSON on standard output. Needs no TensorFlow.

  python -m dr_edge.predict --bundle=BUNDLE eye.jpg
  python -m dr_edge.predict --bundle=BUNDLE --overlay=PICTURES --artifact=static_int8 photographs/ more/*.png
  python -m dr_edge.predict --bundle=hf://owner/name --bundle_sha256=DIGEST eye.jpg

Prints one JSON document: "answers" holds a line per photograph with its status ("answered", "out_of_distribution",
"too_poor_to_grade", "not_a_fundus_photograph", "unreadable"), calibrated probabilities, the decision at the operating
point (masks, vertical cup-to-disc ratio and the fovea for a segmentation bundle), quality and distance from the
training images. Of a model that was worse than guessing on its test photographs, or could not be told from it, every
message starts with that ("bundle" holds the verdict). Of two classes act on "decision": "prediction" is only the
likelier class; sensitivity and specificity there are those of the validation images, and --operating_point chooses
another point. Of a directory, files that are pictures by name or content are read, not its subdirectories; what was
passed over is said on standard error. --overlay leaves a PNG per photograph with its heat map or masks; a heat map
where it speaks for a disease that was found, with --heatmaps=all in any case. On standard error: progress with the time
left, and on a terminal or with --overlay a summary, a line per photograph. Exit status 1 when a file was unreadable;
the others are answered all the same. Many photographs are answered by a process per core (--workers); the document is
the same, in the order given. A photograph that ends its process, twice, is listed as unreadable; no other is lost.
Where something else fails (a full disk), the document ends with "complete": false and "error". Measured on one x86-64
core, 4288x2848 JPEG, 128 px model: 0.25 s to the first answer, then 15 ms each.
"""

from __future__ import annotations

import sys

from absl import flags

from dr_edge import command
from dr_edge.remote import bundle_flags

FLAGS = flags.FLAGS

bundle_flags.define(required=True)
flags.DEFINE_string("overlay", None, "Directory for pictures; must not exist or be empty.")
flags.DEFINE_enum(
    "heatmaps",
    "positive",
    ["positive", "all"],
    "Heat maps of --overlay: where the answer is positive, or for every answer.",
)
flags.DEFINE_string(
    "artifact", None, "Variant or file name of the .tflite to use, for example static_int8; float32 if not given."
)
flags.DEFINE_string(
    "operating_point", None, "One of the bundle's operating points; sensitivity_90 if not given and there."
)
flags.DEFINE_float("min_quality", None, "Least quality that is graded; if not given, the bundle's (0.2).", 0.0, 1.0)
flags.DEFINE_integer(
    "workers",
    None,
    "Processes; if not given, as many as this one may use cores, fewer for few photographs. Each takes about 140 MB "
    "with a model of 13 MB.",
    lower_bound=1,
)
flags.DEFINE_integer("threads", 1, "Threads of the model's arithmetic, in each process.", lower_bound=1)


def main(argv: list[str]) -> int:
    """Answers the photographs; returns the exit status."""
    from dr_edge.prediction import bundle, flow
    from dr_edge.remote import bundles

    directory = bundles.local_directory(FLAGS.bundle, FLAGS.bundle_sha256, FLAGS.require_signature)
    try:
        opened = bundle.open_bundle(
            directory, FLAGS.artifact, FLAGS.operating_point, FLAGS.min_quality, FLAGS.require_signature
        )
        failed = flow.predict_files(
            opened, argv[1:], sys.stdout, FLAGS.overlay, FLAGS.threads, sys.stderr, FLAGS.heatmaps, FLAGS.workers
        )
    except KeyboardInterrupt as stop:
        raise command.Failure("Interrupted; the answers so far are complete.", command.INTERRUPTED) from stop
    return 1 if failed else 0


if __name__ == "__main__":
    FLAGS.set_gnu_getopt(True)  # flags may stand after photographs
    command.run(main)
