"""Measures how fast the models of a bundle run, on a phone over adb or on this computer, so that one can believe it.

    python -m android_bench --bundle=BUNDLE --target=adb --tool=benchmark_model --out=DIR
    python -m android_bench --bundle=BUNDLE --target=host --out=DIR
    python -m android_bench compare DIR_A DIR_B
    python -m android_bench read FILE

Writes DIR/bench.json (everything: device, exact commands, every session and sample), bench.csv, bench.md, plots
(latency by artifact; the sustained curve; accuracy against latency against size) and logs/ (what the tools printed). A
row whose delegate took no node has a reason and no figure. `compare` prints what changed between two reports. `read`
prints as JSON what a benchmark tool left elsewhere: its log, its result protobuf, or the JSON of litert-benchmark.

A phone: switch USB debugging on in its developer options, connect it by USB, accept the question on its screen;
`adb devices` then lists it as `device`. `benchmark_model` is Google's: a native benchmark binary for android_aarch64 on
TensorFlow's page "Performance measurement" (interpreter), or for android_arm64 on LiteRT's page "Benchmark
CompiledModel API"; take the one whose runtime the app uses. Nothing stays on the phone.

Exit status: 0 measured; 1 nothing could be measured, or the device was lost on the way; 2 the command line is wrong;
130 interrupted (what was measured until then is written).
"""

from __future__ import annotations

import dataclasses
import datetime
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from android_bench import compare, host, matrix, read, report, rows
from android_bench.adb import runner, workspace
from android_bench.bundle import Bundle, read_bundle
from android_bench.errors import BenchError
from dr_edge import command, extras, metadata
from dr_edge.remote import bundle_flags

_DEFAULTS = matrix.Settings()

_BUNDLE, _BUNDLE_SHA256, _REQUIRE_SIGNATURE = bundle_flags.define(required=False)
_TARGET = flags.DEFINE_enum("target", None, ["adb", "host"], "Where to measure: a connected phone, or this computer.")
_OUT = flags.DEFINE_string("out", None, "The report directory to write; must not exist, or be empty.")
_ARTIFACTS = flags.DEFINE_list("artifacts", [], "Artifacts to measure, by key, file or variant. Default: all.")
_THREADS = flags.DEFINE_list("threads", [], "CPU threads to try. Default: 1,4 on a phone, 1 here.")
_DELEGATES = flags.DEFINE_list(
    "delegates",
    ["xnnpack"],
    f"Delegates to try, of {', '.join(matrix.DELEGATES)} (none: the runtime's own CPU kernels).",
)
_MASKS = flags.DEFINE_list(
    "core_masks",
    [""],
    "Core masks to try, hexadecimal as taskset takes them, as f0,0f. Default: the scheduler's choice.",
)
_SESSIONS = flags.DEFINE_integer("sessions", _DEFAULTS.sessions, "Processes per row, interleaved over the rows.")
_RUNS = flags.DEFINE_integer("runs", _DEFAULTS.runs, "Least timed runs per session.")
_MIN_SECS = flags.DEFINE_float("min_secs", _DEFAULTS.min_secs, "Least seconds of timed runs per session.")
_WARMUP_RUNS = flags.DEFINE_integer("warmup_runs", _DEFAULTS.warmup_runs, "Least runs before the timed ones.")
_WARMUP_SECS = flags.DEFINE_float("warmup_secs", _DEFAULTS.warmup_secs, "Least seconds before the timed ones.")
_SUSTAINED = flags.DEFINE_integer(
    "sustained", 0, "Minutes of load without a pause per row, one point a minute; 0: none."
)
_PROFILE = flags.DEFINE_bool(
    "op_profile", False, "adb: one more session per row that says which operators take how long."
)
_TIMEOUT = flags.DEFINE_float("timeout_secs", _DEFAULTS.timeout_secs, "A session that takes longer is given up.")
_COOLDOWN = flags.DEFINE_float("cooldown_secs", _DEFAULTS.cooldown_secs, "adb: longest wait for thermal status 0.")
_PAUSE = flags.DEFINE_float(
    "pause_secs", _DEFAULTS.pause_secs, "adb: wait before a session where no thermal status exists."
)
_SERIAL = flags.DEFINE_string(
    "serial", None, "adb: the device, as `adb devices` lists it. Needed where there are several."
)
_ADB = flags.DEFINE_string("adb", "adb", "adb: the adb program.")
_TOOL = flags.DEFINE_string("tool", None, "adb: the official benchmark_model, a path or an https address.")
_TOOL_FLAGS = flags.DEFINE_list(
    "tool_flags",
    [],
    "adb: more flags for the tool, as --require_full_delegation=true; {dir} is its directory there.",
)
_TOOL_FILES = flags.DEFINE_list(
    "tool_files", [], "adb: files to put beside the tool: a vendor's accelerator libraries."
)
_TOOL_SHA256 = flags.DEFINE_string(
    "tool_sha256", None, "adb: its SHA-256; needed with an address, checked with a path."
)
_ADB_ONLY = (
    "adb", "serial", "tool", "tool_sha256", "tool_flags", "tool_files", "op_profile", "cooldown_secs", "pause_secs",
)  # fmt: skip
_ALL = (
    *_ADB_ONLY, "bundle", "bundle_sha256", "require_signature", "target", "out", "artifacts", "threads", "delegates",
    "core_masks", "sessions", "runs", "min_secs", "warmup_runs", "warmup_secs", "sustained", "timeout_secs",
)  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Measures, compares or reads; returns the exit status."""
    if argv[1:2] in (["compare"], ["read"]):
        _refuse_flags(_ALL, f"{argv[1]} takes no flags")
        sys.stdout.write({"compare": compare, "read": read}[argv[1]].main(argv[2:]))
        return 0
    return _measure(argv)


def _measure(argv: Sequence[str]) -> int:
    missing = [name for name in ("bundle", "target", "out") if flags.FLAGS[name].value is None]
    if missing or argv[1:]:
        unknown = f" Unknown argument: {argv[1]}." if argv[1:] else ""
        raise app.UsageError(f"--bundle, --target and --out are needed.{unknown}")
    if _TARGET.value == "host":
        _refuse_flags(_ADB_ONLY, "--target=host has no phone")
    settings = matrix.Settings(
        _SESSIONS.value, _RUNS.value, _MIN_SECS.value, _WARMUP_RUNS.value, _WARMUP_SECS.value, _SUSTAINED.value,
        timeout_secs=_TIMEOUT.value, cooldown_secs=_COOLDOWN.value, pause_secs=_PAUSE.value, op_profile=_PROFILE.value,
    )  # fmt: skip
    settings.check()
    threads = _THREADS.value or (["1"] if _TARGET.value == "host" else ["1", "4"])
    if not all(count.isdecimal() for count in threads):
        raise ValueError(f"--threads takes whole numbers, as 1,4. Received {','.join(threads)}.")
    from dr_edge.remote import bundles

    key = _REQUIRE_SIGNATURE.value
    directory = bundles.local_directory(_BUNDLE.value, _BUNDLE_SHA256.value, key)
    bundle = read_bundle(directory, _ARTIFACTS.value, key)
    cells = matrix.build(bundle.artifacts, [int(count) for count in threads], _DELEGATES.value, _MASKS.value or [""])
    if said := extras.sentence("plots", "Drawing them"):
        logging.warning("The report will have no plots. %s", said)
    # An end by `kill` or a closed terminal tidies the phone up as Ctrl-C does; what nohup ignores stays ignored.
    for number in workspace.ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    with metadata.staged_directory(_OUT.value) as staging:
        (staging / "logs").mkdir()
        content, incomplete = _run(bundle, cells, settings, staging / "logs")
        report.write(staging, content)
    measured = sum(row["status"] == "ok" for row in content["rows"])
    print(f"{measured} of {len(content['rows'])} rows measured. Read {Path(_OUT.value, 'bench.md')}.")
    for row in content["rows"]:
        if row["status"] != "ok":
            print(f"  {row['name']}: {row['reason']}", file=sys.stderr)
    if isinstance(incomplete, KeyboardInterrupt):
        return 130
    return 0 if measured and incomplete is None else 1


def _run(
    bundle: Bundle, cells: Sequence[matrix.Cell], settings: matrix.Settings, logs: Path
) -> tuple[dict[str, Any], BaseException | None]:
    """Measures, and returns the report's content, with what cut the measuring short (None: nothing did)."""
    from dr_edge.progress import Progress

    started, incomplete = _now(), None
    found: list[dict[str, Any]] = []
    device: dict[str, Any] = {}
    extra: dict[str, Any] = {"tool": None}
    steps = len(cells) * (
        settings.sessions + settings.sustained_minutes + settings.op_profile * (_TARGET.value == "adb")
    )
    with Progress(total=steps, unit="session", dynamic_ncols=True) as bar:

        def step(name: str) -> None:
            bar.set_postfix_str(name, refresh=False)
            bar.update()

        progress = rows.Progress(step, bar.set_postfix_str)
        try:
            if _TARGET.value == "host":
                device.update(host.describe())
                host.measure(cells, settings, logs, progress, found)
            else:
                runner.measure(_request(), cells, settings, logs, progress, found, device, extra)
        except (BenchError, KeyboardInterrupt) as err:
            if not found:
                raise
            incomplete = err
    reason = None
    if incomplete is not None:
        reason = "interrupted." if isinstance(incomplete, KeyboardInterrupt) else str(incomplete)
        rows.conclude(found, settings.sessions, f"Not measured: {reason}")
    content = {
        "bundle": {
            "name": _name(bundle),
            "task": dict(bundle.task),
            "image_size": bundle.image_size,
            "metadata_sha256": metadata.sha256_file(metadata.manifest_path(bundle.directory, "bundle")),
            "accuracy_data": bundle.accuracy_data,
        },
        "target": _TARGET.value,
        "started": started,
        "finished": _now(),
        "incomplete": reason,
        "settings": dataclasses.asdict(settings),
        "device": device,
        **extra,
        "rows": found,
    }
    return content, incomplete


def _name(bundle: Bundle) -> str:
    """Returns what a report calls the bundle: the name of its directory, or the address that it came from."""
    from dr_edge.remote import address

    given = _BUNDLE.value
    return address.shown(given) if address.is_address(given) else bundle.directory.resolve().name


def _refuse_flags(names: Sequence[str], why: str) -> None:
    """Raises ValueError where one of these flags was given: none is taken and then not used."""
    given = [f"--{name}" for name in names if flags.FLAGS[name].present]
    if given:
        raise ValueError(f"{why}: leave out {', '.join(given)}.")


def _request() -> runner.Request:
    return runner.Request(
        _ADB.value,
        _SERIAL.value,
        _TOOL.value,
        _TOOL_SHA256.value,
        tuple(_TOOL_FLAGS.value),
        tuple(_TOOL_FILES.value),
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    command.run(main)
