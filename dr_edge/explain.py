"""Shows where a model looked: heat maps laid over the photograph, with the answer and its confidence.

  python -m dr_edge.explain --run_dir=RUN --images='photographs/*.jpg' --out=DIR
  python -m dr_edge.explain --run_dir=RUN --images=RECORDS --split=test --limit=20 --methods=gradcam,saliency --out=DIR

Leaves in DIR one PNG per image and method (photograph, overlay, colour bar, answer, label) and index.html, to
open in a browser. A classifier's likeliest class is explained; a multilabel run's every disease, one PNG each (found
or not), or those of --diseases. A map is drawn where it speaks for a disease that was found, and inside the
field of view alone; --heatmaps=all draws those of every answer. Files that show no fundus are listed there with the
reason; what `predict` would not answer is said beside the label ("too poor to grade", "unlike the training images").
Methods: gradcam, gradcam++, layercam, saliency, smoothgrad, scorecam, integrated_gradients; mask for a segmentation
run. About 0.2 s per picture on one core, scorecam more.
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from dr_edge import command, extras, next_steps

FLAGS = flags.FLAGS

flags.DEFINE_string("run_dir", None, "Directory of a finished run.", required=True)
flags.DEFINE_string("images", None, "Records directory, directory of photographs, file, or quoted glob.", required=True)
flags.DEFINE_list(
    "methods", [], "Comma-separated methods; by default gradcam,saliency, or mask for a segmentation run."
)
flags.DEFINE_list("diseases", [], "Comma-separated diseases of a multilabel run to explain; by default all of them.")
flags.DEFINE_enum(
    "heatmaps", "positive", ["positive", "all"], "Draw heat maps where a disease was found, or for every answer."
)
flags.DEFINE_string("out", None, "Directory to write; must not exist or be empty.", required=True)
flags.DEFINE_integer("limit", None, "At most this many images.", lower_bound=1)
flags.DEFINE_enum("split", "test", ["train", "val", "test"], "Split to read when --images is a records directory.")


def main(argv: list[str]) -> int:
    """Explains the images; returns the exit status."""
    extras.require("explain")
    if len(argv) > 1:
        raise app.UsageError(
            f"Unexpected arguments: {' '.join(argv[1:])}. Quote the pattern: --images='photographs/*.jpg'."
        )
    from dr_edge import native_output

    native_output.import_tensorflow()
    from dr_edge.explanation import flow

    done = flow.explain(
        FLAGS.run_dir, FLAGS.images, FLAGS.methods, FLAGS.out, FLAGS.limit, FLAGS.split, FLAGS.diseases, FLAGS.heatmaps
    )
    page = Path(FLAGS.out, "index.html")
    print(f"{done['pictures']} pictures of {done['images']} images, {done['rejected']} left out: {page}")
    print(f"next: {next_steps.after_explanation(FLAGS.run_dir)}")
    return 0


if __name__ == "__main__":
    command.run(main)
