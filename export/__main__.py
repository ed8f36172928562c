"""Exports a finished run to a bundle: artifacts for phones and servers, and the proof that they are the same model.

  python -m export --run_dir=RUN --out=BUNDLE
  python -m export --run_dir=RUN --out=BUNDLE --formats=float32,static_int8
  --gin_param='export.settings.calibration_images = 256'

Leaves in BUNDLE: model.<variant>.tflite and .onnx (one file takes the square photograph and gives probabilities, heat
map and out-of-distribution distance), parity.json and parity.html (each artifact against Keras on the test split),
metadata.json (inputs, outputs, thresholds, sha256), MODEL_CARD.md (twice: under the name that a hub shows, too),
labels.txt, test_vectors/, triton/, and bundle.sha256 over all of them (sha256sum -c); with --sign=KEY also
bundle.sha256.sig, the signature over that. With --records=OTHER integer formats are calibrated and artifacts compared
on OTHER; temperature, thresholds and what the bundle says of its training stay those of the run. Exit status 1 and no
bundle where the deployable graph or an artifact differs from the trained model by more than permitted
(max_graph_auc_drop, max_auc_drop, max_probability_difference and others in export/settings.py).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from dr_edge import command, extras, gin_imports
from dr_edge.subcommands import as_called

FLAGS = flags.FLAGS

flags.DEFINE_string("run_dir", None, "Directory of a finished run (python -m dr_edge.train).")
flags.DEFINE_string("out", None, "Directory of the bundle; must not exist.")
flags.DEFINE_list("formats", [], "Formats of export/formats.py, or all; the default ones if not given.")
flags.DEFINE_string(
    "records", None, "Records for the ranges of integer formats and for parity; the run's own if not given."
)
flags.DEFINE_string(
    "sign",
    None,
    "PEM file of an Ed25519 private key without a password, with which the bundle is signed.",
)
flags.DEFINE_multi_string("gin_file", [], "Gin file with bindings of export.settings; may be repeated.")
flags.DEFINE_multi_string("gin_param", [], "One gin binding, for example 'export.settings.threads = 2'.")
flags.DEFINE_multi_string("gin_import", [], gin_imports.HELP)
flags.mark_flags_as_required(["run_dir", "out"])


def main(argv: list[str]) -> int:
    """Exports; returns the exit status."""
    if len(argv) > 1:
        raise command.unexpected(argv[1:])
    extras.require("export")
    from dr_edge import native_output

    native_output.import_tensorflow()
    from dr_edge import config, metadata
    from export.bundle import write

    try:
        gin_imports.allow(FLAGS.gin_import)
        config.parse(FLAGS.gin_file, FLAGS.gin_param)
        asked = config.bound()  # fine-tuning adds the run's own bindings, of which it uses a part
        report = write.export_run(FLAGS.run_dir, FLAGS.out, FLAGS.formats, FLAGS.records, sign=FLAGS.sign)
    except write.ParityFailure as err:
        print(summary(err.report))
        raise command.Failure(str(err)) from err
    config.warn_unused(asked)
    print(summary(report))
    print(report["verdict"]["text"])
    print(f"bundle: {FLAGS.out}")
    digest = metadata.sha256_file(metadata.manifest_path(FLAGS.out, "bundle"))
    print(f"bundle_sha256: {digest} (state it where you publish the bundle: who fetches it needs it)")
    if FLAGS.sign is not None:
        print("signed: --require_signature=PUBLIC_KEY of predict, serve and bench checks it")
    print(next_steps(FLAGS.out))
    return 0


def next_steps(out: str) -> str:
    """Returns what to read in the bundle `out` and the command that measures its speed."""
    out = out.rstrip("/") or out
    line = shlex.join(["python", "-m", "android_bench", f"--bundle={out}", "--target=host", f"--out={out}-bench"])
    return f"read {out}/parity.html and {out}/MODEL_CARD.md; next: {as_called(line)}"


def summary(report: Mapping[str, Any]) -> str:
    """Returns the table of artifacts as text."""
    from export.parity import statistics

    shown = statistics.shown_metrics(report["graph"]["drop"])
    heads = "".join(f" {statistics.metric_name(metric):>8} {statistics.change_name(metric):>8}" for metric in shown)
    lines = [f"{'artifact':28} {'kB':>8} {'ms':>7}{heads} {'max diff':>9} {'agree':>7}"]
    for name, row in report["artifacts"].items():
        cells = ""
        for metric in shown:
            width = max(8, len(statistics.metric_name(metric)))
            cells += f" {_cell(statistics.shown_value(row, metric)):>{width}} {_cell(row['drop'].get(metric)):>8}"
        lines.append(
            f"{name:28} {row['bytes'] / 1e3:8.0f} {row['latency_ms']['median']:7.2f}{cells} "
            f"{row['max_probability_difference']:9.1e} {row['agreement']:7.3f}"
        )
    lines += [f"{name:28} cannot be made: {reason}" for name, reason in report["not_made"].items()]
    lines.append(_references(report, shown))
    return "\n".join(lines)


def _references(report: Mapping[str, Any], shown: Sequence[str]) -> str:
    """Says which photographs the table is of, and how its figures and those of `evaluate` belong together."""
    from export.parity import statistics

    keras = report["keras"] if "auc" in report["keras"] else {**report["keras"], "auc": report["keras"].get("mean_auc")}
    pairs = "; ".join(
        f"{statistics.metric_name(metric)} {_cell(statistics.shown_value(keras, metric))} and "
        f"{_cell(statistics.shown_value(report['graph'], metric))}"
        for metric in shown
    )
    return (
        f"All on {report['images']} {report['split']} photographs. Keras before the export, on the normalised images "
        f"that evaluate reads, and as exported, on the stored photographs, from which drops count: {pairs}."
    )


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    command.run(main)
