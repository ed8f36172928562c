r"""Shows what is in a directory of records: a contact sheet, class balance, copies, sizes and quality.

  python -m tfrecord_tools.inspect /tmp/records/idrid --out=/tmp/idrid.png

prints a table of splits and classes and how many files were copies of one photograph (exact or to the eye, with
conflicting labels, the largest group, by class), and writes one picture (.png, or .jpg for mail): plots of class
balance, copies, photograph sizes and quality on top; below, for each split and class, some examples as they lie in
their frame, as a model sees them, and with masks and centres.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from dr_edge import command, extras
from dr_edge.data.records import SPLITS
from dr_edge.metadata import read_manifest, write_bytes
from tfrecord_tools.copies import words
from tfrecord_tools.reading import Example, read_examples

FLAGS = flags.FLAGS
flags.DEFINE_string("out", None, "the .png or .jpg to write; without it only the table is printed")
flags.DEFINE_string("label", None, "rows of the sheet follow the classes of this label; the first one if not given")
flags.DEFINE_integer("examples", 3, "examples per split and class", lower_bound=1, upper_bound=20)


ENDINGS = {".png": ".png", ".jpg": ".jpg", ".jpeg": ".jpg"}


class Survey:
    """What was counted over all examples, and the ones chosen for the sheet."""

    def __init__(self) -> None:
        self.chosen: dict[tuple[str, int], list[Example]] = defaultdict(list)
        self.sizes: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.quality: dict[str, list[float]] = defaultdict(list)
        self.lateralities: Counter[str] = Counter()


def survey(
    records: Path,
    manifest: Mapping[str, Any],
    label: str | None,
    count: int,
    on_progress: Callable[[int], None],
) -> Survey:
    """Reads all examples once; keeps the first `count` of each split and class of `label`."""
    found = Survey()
    for split in SPLITS:
        if not manifest["splits"][split]["examples"]:
            continue
        for example in read_examples(records, split):
            row = found.chosen[split, example.label(label) if label else 0]
            if len(row) < count:
                row.append(example)
            height, width = example.numbers("image/source_size")
            found.sizes[split].append((int(width), int(height)))
            found.quality[split].append(example.numbers("image/quality")[0])
            found.lateralities[example.text("eye/laterality") or "unknown"] += 1
            on_progress(1)
    return found


def table(manifest: Mapping[str, Any], found: Survey) -> str:
    """Returns the counts as text: one line per label and class, one column per split."""
    splits = [split for split in SPLITS if manifest["splits"][split]["examples"]]
    size = f"{manifest['image_size']} px, {manifest['preprocess']['method']}"
    lines = [f"{manifest['dataset']}: {size}, {manifest['rejected']} rejected", _line("", splits)]
    lines.append(_line("images", [manifest["splits"][split]["examples"] for split in splits]))
    lines.append(_line("patients", [manifest["splits"][split]["patients"] for split in splits]))
    for name, classes in manifest["labels"].items():
        lines.append(name)
        counts = [manifest["splits"][split]["classes"][name] for split in splits]
        totals = [max(sum(column.values()), 1) for column in counts]
        for value in sorted({key for column in counts for key in column}, key=int):
            title = f"  {value} {classes[int(value)] if int(value) >= 0 else 'missing'}"
            shares = [
                f"{column.get(value, 0)} ({column.get(value, 0) / total:.0%})"
                for column, total in zip(counts, totals, strict=True)
            ]
            lines.append(_line(title, shares))
    for name in manifest["masks"]:
        lines.append(_line(f"mask {name}", [manifest["splits"][split]["masks"][name] for split in splits]))
    low = [f"{np.median(found.quality[split]):.2f} / {np.min(found.quality[split]):.2f}" for split in splits]
    lines.append(_line("quality, median / lowest", low))
    eyes = ", ".join(f"{count} {side}" for side, count in sorted(found.lateralities.items()))
    return "\n".join([*lines, f"eyes: {eyes}", *words(manifest.get("copies"), manifest["labels"])])


def _line(title: str, cells: Sequence[object]) -> str:
    return f"{title[:44]:<44}" + "".join(f"{cell!s:>16}" for cell in cells)


def draw_sheet(manifest: Mapping[str, Any], found: Survey, label: str | None, count: int) -> np.ndarray:
    """Returns the contact sheet, [H, W, 3] uint8 RGB."""
    from tfrecord_tools import sheet
    from tfrecord_tools.sheet_plots import draw_plots

    colours = sheet.palette(manifest["masks"])
    rows = []
    for (split, value), examples in sorted(
        found.chosen.items(), key=lambda pair: (SPLITS.index(pair[0][0]), pair[0][1])
    ):
        if not label:
            title = split
        elif value < 0:
            title = f"{split}   {label} missing"
        else:
            title = f"{split}   {label} {value}: {manifest['labels'][label][value]}"
        rows.append(sheet.draw_row(title, examples, colours, count))
    width = max(row.shape[1] for row in rows)
    plots = draw_plots(manifest, found.sizes, found.quality, width)
    return sheet.stack([plots, sheet.draw_legend(colours, manifest["centres"], width), *rows])


def main(argv: list[str]) -> None:
    if len(argv) != 2:
        raise app.UsageError(
            "One directory of records is needed: python -m tfrecord_tools.inspect RECORDS --out=SHEET.png"
        )
    if FLAGS.out:
        extras.require("--out", f"--out={FLAGS.out}")
    import cv2

    from dr_edge.progress import Progress

    out = Path(FLAGS.out).expanduser() if FLAGS.out else None
    if out is not None and out.suffix.lower() not in ENDINGS:
        raise ValueError(f"--out={FLAGS.out}: a sheet is written as .png or .jpg. Give it one of these endings.")
    records = Path(argv[1]).expanduser()
    manifest = read_manifest(records, "dataset")
    label = FLAGS.label or next(iter(manifest["labels"]), None)
    if label is not None and label not in manifest["labels"]:
        raise ValueError(f"No label {label!r} in {records}. It has: {', '.join(manifest['labels'])}.")
    total = sum(content["examples"] for content in manifest["splits"].values())
    with Progress(total=total, desc="read", unit="img", mininterval=0.5) as bar:
        found = survey(records, manifest, label, FLAGS.examples, bar.update)
    print(table(manifest, found))
    if out is not None:
        picture = draw_sheet(manifest, found, label, FLAGS.examples)
        out.parent.mkdir(parents=True, exist_ok=True)
        ending = ENDINGS[out.suffix.lower()]
        write_bytes(out, cv2.imencode(ending, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
        print(f"Contact sheet: {out}")


if __name__ == "__main__":
    command.run(main)
