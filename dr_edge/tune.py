"""Searches gin bindings for the best validation metric: a grid, random, or TPE (Optuna), one run directory per trial.

  python -m dr_edge.tune --gin_file=F --records=RECORDS --run_dir=DIR \\
      --grid="schedules.constant.learning_rate=[1e-2, 1e-3, 1e-4, 1e-5]" --grid="train.batch_size=[2, 4]"
  python -m dr_edge.tune --gin_file=F --records=RECORDS --run_dir=DIR --trials=30 \\
      --search="schedules.cosine.learning_rate=loguniform(1e-5, 1e-2)" --search="train.batch_size=choice([8, 16, 32])"

Leaves in DIR: trials/<name>/ (a run each), logs/, trials.csv (a row per trial: value, settings, why it failed),
trials.png and study.db. A trial that fails is recorded and the others go on. Killed at any moment, the same command
goes on where it was. A search of which every trial has failed gives way to another in the same DIR; what it left is
moved to before-<n>/. The same command started several times shares the work; on several machines give them one
--storage, and a DIR that all see. Needs the extra: pip install "dr_edge[tune]". TensorFlow is imported by the trials
only.
"""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

from absl import flags, logging

from dr_edge import command, extras, gin_imports, locks

FLAGS = flags.FLAGS

flags.DEFINE_multi_string("gin_file", None, "Gin file of the runs; may be repeated, later ones win.")
flags.DEFINE_multi_string("gin_param", [], "A gin binding of all runs; wins over the files.")
flags.DEFINE_multi_string("gin_import", [], gin_imports.HELP)
flags.DEFINE_multi_string("grid", [], 'Values of a binding: "NAME=[value, ...]". May be repeated: all combinations.')
flags.DEFINE_multi_string(
    "search", [], 'Range of a binding: "NAME=loguniform(a,b)", uniform, int, logint or choice([...]).'
)
flags.DEFINE_string(
    "sampler", None, "grid (with --grid), tpe (with --search) or random; by default one of the first two."
)
flags.DEFINE_integer("trials", None, "Number of trials over all processes; by default the whole grid.", lower_bound=1)
flags.DEFINE_boolean("maximize", True, "A higher metric is better; --nomaximize for train.select_by = 'loss'.")
flags.DEFINE_integer("seed", 0, "Of the sampler.")
flags.DEFINE_string("storage", None, "SQLAlchemy URL or path of a journal file; by default sqlite in --run_dir.")
flags.DEFINE_string("records", None, "Records directory; overrides train.records.")
flags.DEFINE_string("run_dir", None, "Directory of the search.")
flags.mark_flags_as_required(["gin_file", "run_dir"])


def main(argv: list[str]) -> int:
    """Searches; returns 0, 130 when stopped, or 1 when nothing succeeded."""
    if len(argv) > 1:
        raise command.unexpected(argv[1:])
    extras.require("tune")
    try:
        return _search()
    except KeyboardInterrupt as stop:
        raise command.Failure("Stopped. Run the same command again to go on.", command.INTERRUPTED) from stop


def _search() -> int:
    from dr_edge.tuning import report, settings, space, trials
    from dr_edge.tuning import study as study_lib

    dimensions = [space.parse_grid(text) for text in FLAGS.grid] + [space.parse_search(text) for text in FLAGS.search]
    directory = Path(FLAGS.run_dir).resolve()
    # Quoted: Optuna and SQLAlchemy read ?, % and {} of an address as their own.
    storage = FLAGS.storage or f"sqlite:///{quote(str(directory / 'study.db'))}"
    sampler = FLAGS.sampler or ("tpe" if FLAGS.search else "grid")
    study_lib.check_sampler(sampler, dimensions, FLAGS.trials)
    settings.check(FLAGS.gin_file, FLAGS.gin_param, FLAGS.gin_import, dimensions, FLAGS.maximize)
    directory.mkdir(parents=True, exist_ok=True)
    content = {"gin_files": list(FLAGS.gin_file), "gin_params": list(FLAGS.gin_param), "records": FLAGS.records}
    content |= {"gin_imports": list(FLAGS.gin_import)} if FLAGS.gin_import else {}
    with locks.held(directory / "study", "opened", wait=True):  # two that start at once would both make the study
        search = study_lib.Search(
            storage, directory.name, sampler, dimensions, FLAGS.trials, FLAGS.seed, FLAGS.maximize, content,
            lambda: trials.set_aside(directory),
        )  # fmt: skip

    def publish() -> list[dict]:
        rows = report.table(search.counted(), search.dimensions)
        report.write(directory, rows, search.dimensions, FLAGS.maximize)
        return rows

    spent: list[float] = []
    while (found := search.next_trial()) is not None:
        trial, values = found
        name = space.trial_name(values, dimensions)
        bindings = space.bindings(values, dimensions)
        logging.info(
            "trial %d of %d: %s -> %s/trials/%s", trial.number + 1, search.total, ", ".join(bindings), directory, name
        )
        run_dir = directory / "trials" / name
        started = time.monotonic()
        with study_lib.beating(trial):
            line = trials.command(
                FLAGS.gin_file, [*FLAGS.gin_param, *bindings], FLAGS.gin_import, FLAGS.records, run_dir
            )
            try:
                outcome = trials.run(line, run_dir, directory / "logs" / f"{name}.log")
            except trials.Stopped as stop:
                raise command.Failure(str(stop), command.INTERRUPTED) from stop
        spent.append(time.monotonic() - started)
        search.finish(trial, outcome.value, outcome.reason, outcome.details)
        done = sum(row["state"] in ("finished", "failed") for row in publish())
        left = (search.total - done) * sum(spent) / len(spent)
        result = (
            f"{outcome.details.get('metric')} {outcome.value:.4f}"
            if outcome.value is not None
            else f"FAILED: {outcome.reason}"
        )
        logging.info("%s (%d of %d done, about %.0f minutes left)", result, done, search.total, left / 60)
    rows = publish()
    best = report.best(rows, FLAGS.maximize)
    if best is None:
        raise command.Failure(f"No trial has finished. The reasons stand in {directory / report.CSV_FILE}.")
    settings_text = ", ".join(f"{dimension.name} = {best[dimension.name]}" for dimension in dimensions)
    print(
        f"best of {sum(row['state'] == 'finished' for row in rows)}: {best['metric']} {best['value']:.4f} with "
        f"{settings_text}"
    )
    print(f"{directory / best['run_dir']}   {directory / report.CSV_FILE}")
    return 0


if __name__ == "__main__":
    command.run(main)
