"""Runs the whole chain on drawn fundus images: no photograph, no download, three to ten minutes on two cores.

  python -m dr_edge.demo --out=demo

photographs -> records -> run -> evaluation -> heat maps -> bundle -> latency, each by the very command that one would
type for real data (it is printed before it runs). Closes with a table and the place of demo/report.html. A stage whose
directory stands there finished is not run again; remove the directory (make clean) to start anew.
"""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from absl import flags

from dr_edge import command as commands
from dr_edge import extras, metadata
from dr_edge.subcommands import as_called

FLAGS = flags.FLAGS

flags.DEFINE_string("out", "demo", "Directory of everything that the demo writes.")
flags.DEFINE_integer("images", 1400, "Fundus images to draw.", lower_bound=200)
flags.DEFINE_integer("image_size", 160, "Side of the crops in pixels.", lower_bound=64)


# What the report links to where it stands there: file below the demo's directory, title.
LINKS = (
    ("run/evaluation/test/report.html", "Evaluation on the test split"),
    ("heatmaps/index.html", "Heat maps"),
    ("bundle/parity.html", "Artifacts against Keras"),
    ("bundle/MODEL_CARD.md", "Model card"),
    ("bundle/metadata.json", "What an app must know of the bundle"),
    ("bench/bench.md", "Latency"),
)


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command of the chain.

    Attributes:
      title: what it does.
      module: python -m MODULE.
      arguments: its flags.
      proof: the file that it writes last.
    """

    title: str
    module: str
    arguments: tuple[str, ...]
    proof: Path


def stages(out: Path, images: int, image_size: int) -> list[Stage]:
    """Returns the chain, first to last, below the directory `out`."""
    records, run, bundle = out / "records", out / "run", out / "bundle"
    return [
        Stage(
            "draw, crop, normalise, split", "tfrecord_tools.build",
            ("--dataset=synthetic", f"--limit={images}", f"--image_size={image_size}", f"--out={records}"),
            metadata.manifest_path(records, "dataset"),
        ),
        Stage("look at the records", "tfrecord_tools.inspect", (str(records), f"--out={out / 'sheet.png'}"),
        out / "sheet.png"),
        Stage(
            "train", "dr_edge.train", ("--gin_file=gin_configs/demo.gin", f"--records={records}", f"--run_dir={run}"),
            metadata.manifest_path(run, "run"),
        ),
        Stage(
            "evaluate", "dr_edge.evaluate", (f"--run_dir={run}", "--split=test"),
            metadata.manifest_path(run / "evaluation" / "test", "evaluation"),
        ),
        Stage(
            "heat maps", "dr_edge.explain",
            (f"--run_dir={run}", f"--images={records}", "--methods=gradcam,saliency", "--limit=8",
             f"--out={out / 'heatmaps'}"),
            out / "heatmaps" / "index.html",
        ),
        Stage("export", "export", (f"--run_dir={run}", f"--out={bundle}"), metadata.manifest_path(bundle, "bundle")),
        Stage(
            "latency on this machine", "android_bench",
            (f"--bundle={bundle}", "--target=host", f"--out={out / 'bench'}"),
            metadata.manifest_path(out / "bench", "bench"),
        ),
    ]  # fmt: skip


def is_done(stage: Stage) -> bool:
    """Says whether a stage has finished; training says so in run.json."""
    if stage.module != "dr_edge.train":
        return stage.proof.is_file()
    run = metadata.manifest_path(stage.proof.parent, "run")
    return run.is_file() and metadata.read_manifest(run.parent, "run")["status"] == "finished"


def check_images(records: Path, images: int, image_size: int) -> None:
    """Raises ValueError where `records` stand there already with other images than those asked for."""
    if not metadata.manifest_path(records, "dataset").is_file():
        return
    made = metadata.read_manifest(records, "dataset")
    built = sum(split["examples"] for split in made["splits"].values()) + made["rejected"]
    if (built, made["image_size"]) != (images, image_size):
        raise ValueError(
            f"{records.parent} was made with --images={built} --image_size={made['image_size']}, asked for are {images}"
            f" and {image_size}. Take another --out, or remove that directory."
        )


def table(bundle: Path, bench: Path) -> list[dict[str, Any]]:
    """Returns one row per artifact: name, size, accuracy, AUC, drop in AUC, latency.

    The first row is the trained model on the records, the second the exported graph, still in Keras, on the
    photographs; an artifact's drop is counted from that.

    Latency is the median of this machine at one thread, None where it was not measured.
    """
    parity = metadata.read_manifest(bundle, "parity")
    latency = {
        row["artifact"]["file"]: row["latency_ms"]["median"]
        for row in metadata.read_manifest(bench, "bench")["rows"]
        if row["threads"] == 1 and row["status"] == "ok"
    }
    none = {"bytes": None, "drop": None, "latency": None}
    rows = [
        {"name": "Keras, on the records", **none} | _scores(parity["keras"]),
        {"name": "Keras, as exported", **none} | _scores(parity["graph"]),
    ]
    for name, values in parity["artifacts"].items():
        rows.append(
            {"name": name, "bytes": values["bytes"], "drop": values["drop"]["auc"], "latency": latency.get(name)}
            | _scores(values)
        )
    return rows


def _scores(values: dict[str, Any]) -> dict[str, Any]:
    return {"accuracy": values["accuracy"], "auc": values["auc"]}


def as_text(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as an aligned table."""
    heads = ("artifact", "accuracy", "AUC", "AUC drop", "MB", "ms")
    body = [
        (
            row["name"], _number(row["accuracy"], 3), _number(row["auc"], 4), _number(row["drop"], 4, sign=True),
            _number(row["bytes"] and row["bytes"] / 1e6, 2), _number(row["latency"], 2),
        )
        for row in rows
    ]  # fmt: skip
    widths = [max(len(line[column]) for line in (heads, *body)) for column in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in (heads, *body)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _number(value: float | None, digits: int, sign: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value + 0.0:{'+' if sign else ''}.{digits}f}"


def write_report(out: Path, rows: list[dict[str, Any]], minutes: float | None) -> Path:
    """Writes report.html, which shows the pictures and links to the reports of the stages; returns its path."""
    from dr_edge import verdict
    from dr_edge.drawing import html
    from dr_edge.evaluation import number_text

    run = metadata.read_manifest(out / "run", "run")
    evaluation = metadata.read_manifest(out / "run" / "evaluation" / "test", "evaluation")
    evaluation["verdict"] = verdict.of_bundle(evaluation)  # an earlier release's may stand there
    pictures = sorted(path.relative_to(out).as_posix() for path in (out / "heatmaps").rglob("*.png"))
    plots = sorted(path.relative_to(out).as_posix() for path in (out / "bench").glob("*.png"))
    links = [(target, title) for target, title in LINKS if (out / target).is_file()]
    page = (
        html.environment(Path(__file__).parent, filters=number_text.FILTERS)
        .get_template("demo_report.html.j2")
        .render(
            rows=rows, links=links, run=run, evaluation=evaluation, pictures=pictures, plots=plots, minutes=minutes,
            number=_number, tiles=number_text.tiles(evaluation),
        )
    )  # fmt: skip
    metadata.write_text(out / "report.html", page)
    return out / "report.html"


def main(argv: list[str]) -> int:
    """Runs what is left of the chain; returns the exit status of the first stage that fails, else 0."""
    if len(argv) > 1:
        raise commands.unexpected(argv[1:])
    extras.require("demo")
    out = Path(FLAGS.out)
    started = time.monotonic()
    chain = stages(out, FLAGS.images, FLAGS.image_size)
    check_images(out / "records", FLAGS.images, FLAGS.image_size)
    ran = 0
    for number, stage in enumerate(chain, start=1):
        print(f"\n[{number}/{len(chain)}] {stage.title}", flush=True)
        if is_done(stage):
            print(f"  stands in {stage.proof.parent} already", flush=True)
            continue
        command = [sys.executable, "-m", stage.module, *stage.arguments]
        print("  " + as_called(shlex.join(["python", *command[1:]])), flush=True)
        before = time.monotonic()
        status = subprocess.run(command, check=False).returncode
        if status:
            message = (
                f"{stage.module} ended with status {status}; it says why above. Run the same command again to go on "
                "from here."
            )
            raise commands.Failure(message, status if status > 0 else commands.FAILED)
        ran += 1
        print(f"  {time.monotonic() - before:.0f} s", flush=True)
    rows = table(out / "bundle", out / "bench")
    minutes = (time.monotonic() - started) / 60 if ran == len(chain) else None
    report = write_report(out, rows, minutes)
    print(f"\n{as_text(rows)}\n")
    print("On drawn images: the figures show that the chain works, nothing about patients.")
    whole = "" if minutes is None else f" All of it took {minutes:.1f} minutes."
    print(f"Latency: median, one thread, this machine.{whole}")
    print(f"Report: {report.resolve().as_uri()}")
    if sys.prefix != sys.base_prefix:
        environment = Path(sys.prefix)
        if environment.is_relative_to(Path.cwd()):
            environment = environment.relative_to(Path.cwd())
        print(f"Next, your own photographs: . {environment}/bin/activate; dr-edge build --help")
    return 0


if __name__ == "__main__":
    commands.run(main)
