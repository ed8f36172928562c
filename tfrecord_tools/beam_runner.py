"""Which Beam runner is meant, which options it knows, and one pipeline on it.

  run_pipeline(work, function, "DaskRunner", ["dask_client_address=tcp://host:8786"], workers=1)

Beam itself knows the short names of some runners only, drops an option that it does not know in silence, and reads the
options of a runner (those of Dask are such) once the runner's module is imported.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from dr_edge import extras, scratch

DASK = "DaskRunner"
DASK_TASKS = 10_000  # of one pipeline: the scheduler of Dask spends about a millisecond on each


class WorkerBlind(RuntimeError):
    """A worker does not see what the launcher sees."""


def needs(runner: str) -> str:
    """Returns the key of `extras.NEEDS` that names what a runner needs."""
    return "--runner=DaskRunner" if _plain(runner) in ("dask", "daskrunner") else "--runner"


def run_pipeline(
    work: Sequence[Any], function: Callable[[Any], Any], runner: str, given: Sequence[str], workers: int
) -> None:
    """Maps `function` over `work` on a runner, and waits.

    Args:
      runner: its name, with or without 'Runner' at its end, or its full class path.
      given: options of the runner, NAME=VALUE or NAME, without dashes.
      workers: processes, where the runner is this machine and no option says how many.

    Raises:
      ValueError: Beam is not installed, or the runner or an option is unknown to it.
      RuntimeError: workers that do not see the data, or died again and again.
    """
    if not work:
        return
    logging.getLogger("apache_beam").setLevel(logging.ERROR)  # it tells of every channel it opens
    extras.require(needs(runner), f"--runner={runner}")
    scratch.of_process("beam")  # its runners leave theirs behind where they are killed
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    path = runner_path(runner)
    flags = [f"--runner={path}", "--default_sdk_harness_log_level=ERROR"]
    flags += [f"--{option.lstrip('-')}" for option in given]
    options = read_options(given, flags)
    name = path.rpartition(".")[2]
    if name == "DirectRunner" and not any("direct_" in flag for flag in flags):
        flags += ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    if name == DASK and not (options.get("npartitions") or options.get("partition_size")):
        # Beam puts 128 elements into a task, which is all of a small build: one worker would do everything.
        flags.append(f"--dask_partition_size={-(-len(work) // DASK_TASKS)}")
    own = name == DASK and not (options.get("address") or options.get("scheduler_file"))
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(_own_cluster(workers)) if own else []
        pipeline = apache_beam.Pipeline(options=PipelineOptions([*flags, *found]))
        _ = pipeline | apache_beam.Create(list(work)) | apache_beam.Reshuffle() | apache_beam.Map(function)
        try:
            _finish(pipeline)
        except Exception as err:
            said = _plain_words(err)
            if said is None:
                raise
            raise RuntimeError(said) from err


@contextlib.contextmanager
def _own_cluster(workers: int) -> Iterator[list[str]]:
    """Yields the flag of a Dask cluster on this machine: the one that Beam would start has a process per core."""
    import distributed

    with distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster:
        yield [f"--dask_client_address={cluster.scheduler_address}"]


def _finish(pipeline: Any) -> None:
    result = pipeline.run()
    try:
        result.wait_until_finish()
    finally:
        client = getattr(result, "client", None)  # of Dask: nobody else closes it
        if client is not None:
            client.close()


def _plain_words(err: Exception) -> str | None:
    """Returns what to say of a failure on a worker, whatever the runner wrapped around it; None: nothing better."""
    text = str(err)
    seen = re.search(r"Worker \S+ does not see .*?\(NFS, Lustre, a mounted bucket\)\.", text, re.DOTALL)
    if seen:
        return seen[0]
    if type(err).__name__ == "KilledWorker":
        return (
            "The workers died again and again on the same photographs: a crash in a decoder, or killed for memory. "
            "Give them more memory, or run the same command without --runner: it goes on from here and rejects the "
            "photograph that kills."
        )
    gone = re.search(r"No module named '(dr_edge|tfrecord_tools|apache_beam)\b", text)
    if gone:
        return f"A worker has no {gone[1]}. Install dr_edge with the same extra on every worker."
    return None


def runner_path(runner: str) -> str:
    """Returns the full class path of a runner: its short name with or without 'Runner', in any case, or the path.

    Raises:
      ValueError: Beam has none of that name, or it misses a package; lists what there is.
    """
    paths = _paths()
    name = _plain(runner)
    path = runner if "." in runner else paths.get(name) or paths.get(f"{name}runner")
    if path is None:
        names = sorted(path.rpartition(".")[2] for path in paths.values())
        near = difflib.get_close_matches(runner, names, 1)
        hint = f" Did you mean {near[0]}?" if near else f" It has: {', '.join(names)}."
        raise ValueError(f"--runner={runner}: Beam has no runner {runner!r}.{hint}")
    module, _, cls = path.rpartition(".")
    try:
        if not hasattr(importlib.import_module(module), cls):
            raise ValueError(f"--runner={runner}: {module} has no {cls}.")
    except ImportError as err:
        raise ValueError(f"--runner={runner} cannot be loaded: {err}. Install what this runner of Beam needs.") from err
    return path


def _paths() -> dict[str, str]:
    """Returns name in lower case -> class path: the runners that Beam lists, and those that it only brings."""
    import apache_beam
    from apache_beam.options.pipeline_options import StandardOptions

    known = {path.rpartition(".")[2].lower(): path for path in StandardOptions.ALL_KNOWN_RUNNERS}
    root = Path(apache_beam.__file__).parent / "runners"
    for file in sorted(root.glob("*/*_runner.py")):
        name = "".join(word.capitalize() for word in file.stem.split("_"))
        if re.search(rf"^class {name}\(", file.read_text(encoding="utf-8"), re.MULTILINE):
            known.setdefault(name.lower(), f"apache_beam.runners.{file.parent.name}.{file.stem}.{name}")
    return known


def _plain(name: str) -> str:
    return name.strip().lower()


def read_options(given: Sequence[str], flags: Sequence[str]) -> Mapping[str, Any]:
    """Returns destination -> value of all options, read as Beam reads them once the runner's module is imported.

    Raises:
      ValueError: an option that Beam does not know and would drop in silence, or a value that it does not take.
    """
    from apache_beam.options import pipeline_options

    class Parser(pipeline_options._BeamArgumentParser):
        def error(self, message: str) -> NoReturn:  # argparse's own prints a hundred lines of usage and exits
            raise ValueError(f"--beam_option: Beam does not take it: {message}")

    parser = Parser(allow_abbrev=False)
    for cls in {str(cls): cls for cls in pipeline_options.PipelineOptions.__subclasses__()}.values():
        cls._add_argparse_args(parser)
    written = {name: action.dest for action in parser._actions for name in action.option_strings}
    check_options(given, [name.lstrip("-") for name in written], {dest: name for name, dest in written.items()})
    return vars(parser.parse_known_args(list(flags))[0])


def check_options(given: Sequence[str], known: Sequence[str], written: Mapping[str, str] | None = None) -> None:
    """Checks that Beam knows each option: it would drop a mistyped one in silence.

    Args:
      given: NAME=VALUE or NAME.
      known: names of flags, without dashes.
      written: what Beam calls an option inside -> its flag.

    Raises:
      ValueError: names the option and the nearest known one.
    """
    for option in given:
        name = option.lstrip("-").partition("=")[0]
        if name == "runner":
            raise ValueError(f"--beam_option={option}: the runner is named by --runner.")
        if name not in known:
            flag = (written or {}).get(name, "").lstrip("-")
            near = [flag] if flag else difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(f"--beam_option={option}: Beam has no option {name!r}.{hint}")
