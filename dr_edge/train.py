"""Trains a model as a gin file says, and resumes it when the same command is run again.

  python -m dr_edge.train --gin_file=gin_configs/demo.gin --records=RECORDS --run_dir=RUN
  python -m dr_edge.train --gin_file=gin_configs/demo.gin --gin_param='train.epochs = 30' --run_dir=RUN

Leaves in RUN: config.gin (what was asked), operative_config.gin (every setting in force), run.json (what was trained,
on what, how well), checkpoints/, best.keras (best by validation), metrics.jsonl (a row per split and epoch) and
tensorboard/. Ctrl-C saves; the same command goes on where it stopped.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from absl import flags, logging

from dr_edge import command, extras, gin_imports
from dr_edge.subcommands import as_called

FLAGS = flags.FLAGS

flags.DEFINE_multi_string(
    "gin_file", None, "Gin file: a path, or one that comes with dr_edge (demo.gin). May be repeated, later ones win."
)
flags.DEFINE_multi_string("gin_param", [], "One gin binding, for example 'train.epochs = 30'; wins over the files.")
flags.DEFINE_multi_string("gin_import", [], gin_imports.HELP)
flags.DEFINE_string("records", None, "Directory of records (python -m tfrecord_tools.build); overrides train.records.")
flags.DEFINE_string("run_dir", None, "Directory of the run; overrides train.run_dir.")
flags.mark_flag_as_required("gin_file")


def main(argv: list[str]) -> int:
    """Parses the configuration and trains; returns the exit status."""
    if len(argv) > 1:
        raise command.unexpected(argv[1:])
    extras.require("train")
    from dr_edge import native_output

    native_output.import_tensorflow()
    import gin

    from dr_edge import config
    from dr_edge.framework import tf
    from dr_edge.training import loop, run_directory

    config.import_names()

    bindings = list(FLAGS.gin_param)
    bindings += [f"train.records = {FLAGS.records!r}"] if FLAGS.records else []
    bindings += [f"train.run_dir = {FLAGS.run_dir!r}"] if FLAGS.run_dir else []
    try:
        gin_imports.allow(FLAGS.gin_import)
        config.parse(FLAGS.gin_file, bindings)
        config.require_extras()
        trained_before = FLAGS.run_dir is not None and run_directory.is_finished(FLAGS.run_dir)
        run = loop.train()
    except loop.Interrupted as stop:
        logging.warning("%s", config.own_message(stop))
        return command.INTERRUPTED
    except tf.errors.DataLossError as err:
        where = FLAGS.records or gin.query_parameter("train.records")
        verify = shlex.join(["python", "-m", "tfrecord_tools.verify", str(where)])
        raise command.Failure(f"The records are damaged ({err.message}). Find where: {verify}") from err
    except tf.errors.ResourceExhaustedError as err:
        first = err.message.splitlines()[0]
        raise command.Failure(
            f"Out of memory ({first}). Bind a smaller train.batch_size, or build smaller images."
        ) from err
    except (ValueError, RuntimeError, FloatingPointError, OSError) as err:
        message = command.words(config.original(err))
        raise command.Failure(f"{message}{config.missing_flags(message) or config.missing_bindings(message)}") from err
    if not trained_before:
        config.warn_unused()
    best = run["best"]
    value = "undefined" if best["value"] is None else f"{best['value']:.4f}"
    print(
        f"{run['status']}: best validation {best['metric']} {value} at epoch {best['epoch']} ({run['model']['name']})."
    )
    run_dir = Path(FLAGS.run_dir or gin.query_parameter("train.run_dir"))
    evaluate = as_called("python -m dr_edge.evaluate")
    print(f"{run_dir / 'best.keras'}   next: {evaluate} --run_dir={shlex.quote(str(run_dir))}")
    return 0


if __name__ == "__main__":
    command.run(main)
