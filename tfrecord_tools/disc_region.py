r"""Cuts the optic disc's region out of records, where a segmentation run finds it: classify on what glaucoma changes.

  python -m tfrecord_tools.disc_region --records=RECORDS --run_dir=RUN --out=REGIONS --region_size=128
  python -m dr_edge.train --gin_file=... --records=REGIONS --run_dir=RUN2

RUN draws optic discs (gin_configs/system_c.gin) and was trained at the size and preprocessing of RECORDS. REGIONS are
records of the same images, labels and splits; photographs in which no disc is found are in rejected.csv. The truth's
own masks are never looked at, so that training sees what a phone will see.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from dr_edge import command, extras, metadata
from dr_edge.data.records import SPLITS, Record, encode, shard_name
from dr_edge.fundus.crop import FieldOfView, crop_square
from dr_edge.metrics import glaucoma
from tfrecord_tools import digests
from tfrecord_tools.reading import Example, read_examples
from tfrecord_tools.writer import write_table

if TYPE_CHECKING:
    from dr_edge.runs import TrainedRun

FLAGS = flags.FLAGS

DISC = "optic_disc"
BATCH = 16
JPEG_QUALITY = 95


@dataclasses.dataclass(frozen=True)
class Region:
    """A square in the pixels of a stored crop: slice bounds, which may exceed it."""

    top: float
    left: float
    bottom: float
    right: float


def disc_region(probability: np.ndarray, margin: float) -> Region | None:
    """Returns the square around a disc.

    Args:
      probability: [S, S] float 0..1 of the optic disc.
      margin: side of the square in diameters of the disc.

    Returns:
      Whole pixels, centred on the disc's largest part; None where there is no disc.
    """
    mask = glaucoma.largest_component(probability >= glaucoma.THRESHOLD)
    if not mask.any():
        return None
    rows, columns = np.nonzero(mask)
    half = math.ceil(margin * glaucoma.disc_diameter(mask) / 2)
    y, x = round(float(rows.mean()) + 0.5), round(float(columns.mean()) + 0.5)
    return Region(y - half, x - half, y + half, x + half)


def in_photograph(region: Region, crop_box: tuple[float, ...], size: int) -> tuple[float, float, float, float]:
    """Carries a region of a stored crop [size, size] to slice bounds of the photograph: top, left, bottom, right."""
    top, left, bottom, right = crop_box
    down, across = (bottom - top) / size, (right - left) / size
    return (
        top + region.top * down,
        left + region.left * across,
        top + region.bottom * down,
        left + region.right * across,
    )


def cut(example: Example, region: Region, size: int, labels: Mapping[str, Any]) -> Record:
    """Returns the record of a region, in the camera's own colours."""
    import cv2

    picture = example.picture("image/photograph")
    box = dataclasses.astuple(region)
    pixels = crop_square(picture, FieldOfView.from_box(*box), size)
    encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    height, width = example.numbers("image/source_size")
    return Record(
        encoded=encoded,
        image_id=example.text("image/id"),
        path=example.text("image/path"),
        sha256=example.text("image/sha256"),
        patient_id=example.text("patient/id"),
        source_size=(int(height), int(width)),
        crop_box=in_photograph(region, example.numbers("image/crop_box"), len(picture)),
        laterality=example.text("eye/laterality"),
        quality=example.numbers("image/quality")[0],
        labels={name: example.label(name) for name in labels},
    )


def cut_records(records: Path, run: TrainedRun, out: Path, size: int, margin: float) -> dict[str, Any]:
    """Writes the regions of all splits to `out`.

    Returns:
      The content of dataset.json.

    Raises:
      ValueError: a run that draws no disc, records that do not fit it, or no disc in any of them.
      FileExistsError: `out` is not empty.
    """
    from dr_edge.runs import check_records

    if DISC not in run.task.masks:
        raise ValueError(f"{run.directory} draws {run.task.masks or 'no masks'}, no {DISC}. Give a run of system C.")
    check_records(records, run)
    source = metadata.read_manifest(records, "dataset")
    labels, rejected, rows, scores = source["labels"], [], [], []
    splits: dict[str, Any] = {}
    with metadata.staged_directory(out) as staging:
        for split in SPLITS:
            found: list[Record] = []
            if source["splits"][split]["examples"]:
                for example, region in _regions(records, split, run, margin):
                    if region is None:
                        rejected.append((example.text("image/path"), "no optic disc found"))
                    else:
                        found.append(cut(example, region, size, labels))
            rows += [(record.image_id, record.patient_id, split, record.sha256) for record in found]
            scores += [record.quality for record in found]
            splits[split] = _write_split(staging, split, found, labels)
        if not rows:
            raise ValueError(f"{run.directory} finds no optic disc in any of {len(rejected)} images of {records}.")
        write_table(staging / "splits.csv", ("image", "patient", "split", "sha256"), rows)
        write_table(staging / "rejected.csv", ("file", "reason"), rejected)
        histogram, edges = np.histogram(scores, bins=10, range=(0.0, 1.0))
        kept: dict[str, Any] = {
            key: source[key] for key in ("dataset", "labels", "positive", "source") if key in source
        }
        content: dict[str, Any] = {
            **kept,
            "image_size": size,
            "preprocess": {"method": "crop"},
            "masks": [],
            "centres": [],
            "splits": splits,
            "rejected": len(rejected),
            "quality": {"edges": [round(float(edge), 3) for edge in edges], "counts": histogram.tolist()},
            "disc_region": {
                "margin": margin,
                "records_sha256": metadata.sha256_file(metadata.manifest_path(records, "dataset")),
                "model_sha256": metadata.sha256_file(run.directory / "best.keras"),
            },
        }
        metadata.write_manifest(staging, "dataset", {**content, digests.STATED: digests.FILE})
        digests.write_digests(staging)
    return content


def _regions(records: Path, split: str, run: TrainedRun, margin: float) -> Iterator[tuple[Example, Region | None]]:
    """Yields each example of a split with the region of its disc, None where none is found."""
    from dr_edge.progress import Progress

    place = run.task.masks.index(DISC)
    waiting: list[Example] = []

    def answer() -> Iterator[tuple[Example, Region | None]]:
        images = np.stack([example.picture() for example in waiting]).astype(np.float32)
        probabilities = run.probabilities(run.model.predict_on_batch(images))
        for example, probability in zip(waiting, probabilities[..., place], strict=True):
            yield example, disc_region(probability, margin)
        waiting.clear()

    for example in Progress(read_examples(records, split), desc=f"discs of {split}", unit="img", mininterval=0.5):
        waiting.append(example)
        if len(waiting) == BATCH:
            yield from answer()
    if waiting:
        yield from answer()


def _write_split(staging: Path, split: str, found: list[Record], labels: Mapping[str, Any]) -> dict[str, Any]:
    """Writes a split as one shard and returns its part of dataset.json."""
    from dr_edge.data.wire import frame

    shards = []
    if found:
        data = b"".join(frame(encode(record)) for record in found)
        name = shard_name(split, 0, 1)
        metadata.write_bytes(staging / name, data)
        shards.append(
            {"file": name, "sha256": hashlib.sha256(data).hexdigest(), "examples": len(found), "bytes": len(data)}
        )
    counts = {name: Counter(str(int(record.labels[name])) for record in found) for name in labels}
    return {
        "examples": len(found),
        "patients": len({record.patient_id for record in found}),
        "classes": {name: dict(sorted(count.items())) for name, count in counts.items()},
        "masks": {},
        "shards": shards,
    }


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise command.unexpected(argv[1:])
    extras.require("disc_region")
    from dr_edge import native_output

    native_output.import_tensorflow()
    from dr_edge.runs import load_run

    out = Path(FLAGS.out).expanduser()
    content = cut_records(
        Path(FLAGS.records).expanduser(), load_run(FLAGS.run_dir), out, FLAGS.region_size, FLAGS.margin
    )
    counts = ", ".join(f"{content['splits'][split]['examples']} {split}" for split in SPLITS)
    print(f"{counts}; no disc found in {content['rejected']} (rejected.csv). Written to {os.fspath(out)}")


if __name__ == "__main__":
    flags.DEFINE_string("records", None, "records directory to cut from")
    flags.DEFINE_string("run_dir", None, "finished run that draws the optic disc")
    flags.DEFINE_string("out", None, "directory of the new records, new or empty")
    flags.DEFINE_integer("region_size", 128, "side of a region in pixels", lower_bound=32, upper_bound=2048)
    flags.DEFINE_float("margin", 2.0, "side of a region in disc diameters", lower_bound=1.0, upper_bound=6.0)
    flags.mark_flags_as_required(["records", "run_dir", "out"])
    command.run(main)
