"""Judges a finished run on images it was not trained on, and writes a report that anyone can read.

  python -m dr_edge.evaluate --run_dir=RUN
  python -m dr_edge.evaluate --run_dir=RUN --split=val --records=OTHER_RECORDS
  python -m dr_edge.evaluate --run_dir=RUN --photographs=DATA_DIR
  python -m dr_edge.evaluate compare RUN_A RUN_B --split=test --out=comparison.json

Leaves in RUN/evaluation/<split>: metrics.json (a verdict: better than guessing, not told from it, or worse; accuracy,
AUC with its 95 % bootstrap interval by patient, quadratic weighted kappa, per class precision, recall and F1, confusion
matrix, operating points, calibration, subgroups, stability, whether the heat maps passed their checks; Dice and vCDR
for a segmentation run), predictions.csv (a row per image) and report.html (self-contained; open it in a browser). An
older evaluation of the same split is replaced. `compare` reads two such evaluations, of answers or of masks, and prints
the differences with a paired bootstrap. Temperature, distance from the training images and thresholds of two classes
are the run's own, also on OTHER_RECORDS and where its records are gone, and are kept in RUN/reliability; thresholds of
grades and of several diseases need its records. A run of which nothing is kept and whose records are gone is fitted on
OTHER_RECORDS, and the report says so. Stability: photographs are asked about as they are and stored, framed or lit
otherwise (dr_edge/perturbations), on the files in DATA_DIR, that the records were built from, or else on the stored
crops; it takes up to --stability_minutes. About 100 images per second and core for MobileNetV3 Small at 224 px.
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from dr_edge import command, extras, metadata, next_steps

FLAGS = flags.FLAGS

flags.DEFINE_string("run_dir", None, "Directory of a finished run.")
flags.DEFINE_enum("split", "test", ["train", "val", "test"], "Split to judge.")
flags.DEFINE_string("records", None, "Records directory; by default the one that the run was trained on.")
flags.DEFINE_integer("batch_size", 16, "Images per step.", lower_bound=1)
flags.DEFINE_integer("examples", 6, "Mistakes, and right answers, to show with their heat maps.", lower_bound=0)
flags.DEFINE_boolean(
    "heatmap_checks", True, "Also check that the heat maps depend on what was learned and lie on lesions."
)
flags.DEFINE_boolean(
    "stability", True, "Also measure what the answers do when photographs are stored, framed or lit otherwise."
)
flags.DEFINE_integer("stability_photographs", 40, "On how many photographs at most, drawn by patient.", lower_bound=1)
flags.DEFINE_float("stability_minutes", 2.0, "No further photograph is begun after this time.", lower_bound=0.0)
flags.DEFINE_string(
    "photographs",
    None,
    "Directory that the records were built from (--data_dir of the build): stability is measured on its files. Without "
    "it, on the stored crops.",
)
flags.DEFINE_string("out", None, "compare only: also write the comparison to this JSON file.")

flags.DEFINE_alias("honesty", "heatmap_checks")  # its earlier name
# Flags that compare does not use: it reads what an evaluation has left.
OF_STABILITY = ("stability", "stability_photographs", "stability_minutes", "photographs")
OF_AN_EVALUATION = ("run_dir", "records", "batch_size", "examples", "heatmap_checks", *OF_STABILITY)


def main(argv: list[str]) -> int:
    """Evaluates or compares; returns the exit status."""
    job, *arguments = argv[1:] or ["evaluate"]
    if job == "compare":
        _compare(arguments)
        return 0
    extras.require("evaluate")
    if job != "evaluate" or arguments or not FLAGS.run_dir:
        received = f" Received: {' '.join(argv[1:])}." if argv[1:] else ""
        raise app.UsageError(f"Give --run_dir=RUN, or compare RUN_A RUN_B [--out=FILE.json].{received}")
    if FLAGS.out:
        raise app.UsageError("--out is for compare: an evaluation is written to RUN/evaluation/<split>. Leave it out.")
    _evaluate()
    return 0


def _evaluate() -> None:
    from dr_edge import native_output

    native_output.import_tensorflow()
    from dr_edge.evaluation import flow, number_text

    stability = {name: FLAGS[name].value for name in OF_STABILITY}
    settings = flow.Settings(
        FLAGS.split, FLAGS.records, FLAGS.batch_size, FLAGS.examples, FLAGS.heatmap_checks, **stability
    )
    content = flow.evaluate(FLAGS.run_dir, settings)
    print("\n".join(number_text.said(content)))
    print(f"report: {Path(FLAGS.run_dir, 'evaluation', FLAGS.split, flow.REPORT_FILE)}")
    records = FLAGS.records or metadata.read_manifest(FLAGS.run_dir, "run")["records"]
    print(f"next: {next_steps.after_evaluation(FLAGS.run_dir, records, FLAGS.split)}")


def _compare(runs: list[str]) -> None:
    extras.require("compare")
    unused = [f"--{name}" for name in OF_AN_EVALUATION if FLAGS[name].present]
    if unused:
        raise app.UsageError(
            f"compare does not use {', '.join(unused)}: it reads evaluations that both runs have already. Leave them "
            "out, or give them to python -m dr_edge.evaluate --run_dir=RUN and compare then."
        )
    if len(runs) != 2:
        raise app.UsageError(
            "compare takes two evaluated runs: RUN_A RUN_B [--split=SPLIT] [--out=FILE.json]. "
            f"Received: {' '.join(runs) or 'none'}."
        )
    from dr_edge.evaluation import compare

    one, other = runs
    result = compare.compare(one, other, FLAGS.split)
    if FLAGS.out:
        metadata.write_json(FLAGS.out, result)
    print(compare.table(result))


if __name__ == "__main__":
    command.run(main)
