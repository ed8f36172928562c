r"""Builds TFRecords of retinal photographs: found, cropped, preprocessed, split by patient, sharded, checksummed.

  python -m tfrecord_tools.build --dataset=synthetic --out=/tmp/records/synthetic
  python -m tfrecord_tools.build --dataset=idrid --data_dir=~/data/idrid --out=/tmp/records/idrid

leaves in --out:
  {train,val,test}-00000-of-000NN.tfrecord
  dataset.json    counts per split and class, copies, preprocessing, sha256 of each shard, quality histogram
  splits.csv      image, patient, split, sha256
  rejected.csv    file, reason: nothing is dropped in silence
  files.csv       photographs, masks and contours that were read, with their sha256: a changed one is never overlooked
  records.sha256  digests of dataset.json and the tables, which verify compares

Killed or interrupted, the same command goes on where it was. Check with python -m tfrecord_tools.verify,
look with python -m tfrecord_tools.inspect.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from dr_edge import command, cores, extras
from dr_edge.next_steps import quoted
from dr_edge.subcommands import as_called
from tfrecord_tools.catalogue import DATASETS
from tfrecord_tools.sources import help_text

__doc__ = f"{__doc__}\n{help_text()}\n"  # which --help shows

FLAGS = flags.FLAGS
flags.DEFINE_enum(
    "dataset", None, sorted(DATASETS), "which data set; each is read in the layout in which it is downloaded"
)
flags.DEFINE_string("data_dir", None, "the data set's directory, unpacked; not for synthetic")
flags.DEFINE_string("out", None, "directory of the records, new or empty")
flags.DEFINE_integer("image_size", 512, "side of the square crop in pixels", lower_bound=32, upper_bound=4096)
flags.DEFINE_enum(
    "preprocess",
    "graham",
    ["graham", "crop", "grey"],
    "graham: subtract the local average colour; crop: only crop; grey: greyscale of equal mean and spread",
)
flags.DEFINE_float("val_fraction", None, "share for validation; 0.15 unless the data set has an official part")
flags.DEFINE_float("test_fraction", None, "share for testing; 0.15 unless the data set has an official test set")
flags.DEFINE_integer("workers", None, "processes; as many as it may use cores", lower_bound=1)
flags.DEFINE_integer(
    "limit",
    None,
    "take about that many photographs (whole patients); synthetic: draw that many (1200)",
    lower_bound=1,
)
flags.DEFINE_integer("seed", 0, "of the split, the order, and drawn images", lower_bound=0)
flags.DEFINE_float(
    "min_quality", 0.0, "reject photographs whose quality score is below", lower_bound=0.0, upper_bound=1.0
)
flags.DEFINE_integer("shard_examples", 512, "at most that many examples per shard", lower_bound=1)
flags.DEFINE_integer("max_megapixels", 100, "refuse larger photographs before decoding them", lower_bound=1)
flags.DEFINE_string(
    "csv", None, "--dataset=csv: the table (CSV, .xlsx, .xls), one row per photograph; several with commas between"
)
flags.DEFINE_string(
    "image_column", None, "--dataset=csv: column of the photograph's path relative to --data_dir, or of its name"
)
flags.DEFINE_list(
    "label_columns",
    [],
    "--dataset=csv: columns of labels, as COLUMN or LABEL=COLUMN; whole numbers from 0 or names, empty is missing. "
    "Referable DR needs the label dr_grade: --label_columns='dr_grade=DR grade'",
)
flags.DEFINE_string(
    "patient_column", None, "--dataset=csv: column of the patient; without it eyes are kept together by their names"
)
flags.DEFINE_string("split_column", None, "--dataset=csv: column of train, val, test or empty")
flags.DEFINE_string("laterality_column", None, "--dataset=csv: column of left, right, OS, OD or empty")
flags.DEFINE_list(
    "mask_columns",
    [],
    "--dataset=csv: columns of mask files, as STRUCTURE or STRUCTURE=COLUMN; lit (above half of the file's range) where"
    " the structure is, unless --mask_values says otherwise",
)
flags.DEFINE_list(
    "mask_values",
    [],
    "--dataset=csv: grey levels that are inside, per structure of --mask_columns: 'optic_disc>=1,optic_cup=2', "
    "'optic_disc<=128', 'lesion=2-4'",
)
flags.DEFINE_list(
    "positive",
    [],
    "--dataset=folder and csv: the classes that mean the disease, where their names do not say it; COLUMN=NAME of "
    "several columns",
)
flags.DEFINE_enum(
    "copies",
    "exact",
    ["exact", "filtered"],
    "how copies are looked for. exact: every pair is compared; filtered: random filters choose the pairs, which takes "
    "less time from half a million photographs on and may pass over a pair at the very limit, about one in 3,500",
)
flags.DEFINE_string(
    "runner", "local", "local processes, or an Apache Beam runner: DaskRunner, FlinkRunner, DirectRunner ..."
)
flags.DEFINE_multi_string("beam_option", [], "an option for that runner, without its dashes; may be repeated")
TABLE_FLAGS = (
    "csv", "image_column", "label_columns", "patient_column", "split_column", "laterality_column", "mask_columns",
    "mask_values",
)  # fmt: skip
# What a command that a message proposes keeps as it was typed; the rest of it the message says itself.
KEPT_FLAGS = (
    "image_size", "preprocess", "val_fraction", "test_fraction", "workers", "limit", "seed", "min_quality",
    "shard_examples", "max_megapixels", "mask_values", "positive", "copies", "runner", "beam_option",
)  # fmt: skip
flags.mark_flags_as_required(["dataset", "out"])


def _typed() -> tuple[str, ...]:
    """Returns the KEPT_FLAGS of the command line, quoted for a shell."""
    given = []
    for name in (name for name in KEPT_FLAGS if FLAGS[name].present):
        value = FLAGS[name].value
        values = value if name == "beam_option" else [",".join(value) if isinstance(value, list) else value]
        given += [f"--{name}={quoted(str(one))}" for one in values]
    return tuple(given)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise command.unexpected(argv[1:])
    if FLAGS.runner != "local":
        from tfrecord_tools.beam_runner import needs

        extras.require(needs(FLAGS.runner), f"--runner={FLAGS.runner}")
    from tfrecord_tools.assembly import build
    from tfrecord_tools.plan import BuildOptions

    out = Path(FLAGS.out).expanduser()
    options = BuildOptions(
        dataset=FLAGS.dataset,
        data_dir=None if FLAGS.data_dir is None else Path(FLAGS.data_dir).expanduser().absolute(),
        out=out.absolute(),
        image_size=FLAGS.image_size,
        preprocess=FLAGS.preprocess,
        val_fraction=FLAGS.val_fraction,
        test_fraction=FLAGS.test_fraction,
        workers=FLAGS.workers or cores.available(),
        limit=FLAGS.limit,
        seed=FLAGS.seed,
        min_quality=FLAGS.min_quality,
        shard_examples=FLAGS.shard_examples,
        max_pixels=FLAGS.max_megapixels * 1_000_000,
        positive=tuple(FLAGS.positive),
        copies=FLAGS.copies,
        runner=FLAGS.runner,
        beam_options=tuple(FLAGS.beam_option),
        typed=_typed(),
        table={name: FLAGS[name].value for name in TABLE_FLAGS if FLAGS[name].value},
    )
    try:
        print(as_called(build(options)))
    except OSError as err:  # a full disk, no permission: what is finished stays
        raise command.Failure(
            f"{command.words(err)} What is finished is kept; then run the same command again."
        ) from err
    except KeyboardInterrupt as stop:
        message = f"Interrupted. Run the same command again: it goes on from {out.parent}/.{out.name}.building"
        raise command.Failure(message, command.INTERRUPTED) from stop


if __name__ == "__main__":
    command.run(main)
