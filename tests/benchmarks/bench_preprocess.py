"""CPU time and fidelity of photograph -> Graham-normalised crop, side by side with the usual pipeline.

    python tests/benchmarks/bench_preprocess.py --data_dir=../shared/data

Reads the six full-size IDRiD photographs (4288 x 2848) and prints, per stage, the CPU milliseconds on one
core of
- usual: what public notebooks do (full decode, np.ix_ crop of what is brighter than 7, bilinear resize,
  addWeighted of a GaussianBlur of sigma 10);
- lean: the same with the cheapest crop there is, a view;
- ours: scaled decode, circle fit, area-filtered resize, Graham normalisation at reduced scale;
then the PSNR of ours against the area-resized full decode through the same Graham normalisation. The
pipelines take turns, so that a busy machine slows all. Exits 1 when ours is not `--least_speedup` times as
fast as the usual one or falls below `--least_psnr`. Writes nothing.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from absl import app, flags

from dr_edge.fundus.crop import crop_square
from dr_edge.fundus.fov import find_fov
from dr_edge.fundus.graham import preprocess
from dr_edge.fundus.photograph import decode_photograph, decode_scaled
from dr_edge.fundus.quality import quality

DATA_DIR = flags.DEFINE_string("data_dir", "../shared/data", "Directory that holds idrid/ as downloaded.")
SIZE = flags.DEFINE_integer("size", 512, "Side of the crop in pixels.", lower_bound=64)
REPEATS = flags.DEFINE_integer("repeats", 5, "How often each photograph is processed.", lower_bound=1)
LEAST_SPEEDUP = flags.DEFINE_float("least_speedup", 4.0, "Fails below this ratio of the totals.")
LEAST_PSNR = flags.DEFINE_float("least_psnr", 35.0, "Fails when a photograph's PSNR is below, in dB.")

FULL_SIZE = {"a. Training Set": (5, 214, 409), "b. Testing Set": (7, 49, 96)}
MARGIN = 1.1  # as tfrecord_tools asks the decoder for
Stages = dict[str, float]


def full_size_photographs(data_dir: Path) -> list[Path]:
    """Returns the paths of the six; ValueError where one is missing."""
    images = data_dir / "idrid" / "B. Disease Grading" / "1. Original Images"
    paths = [images / split / f"IDRiD_{n:03d}.jpg" for split, numbers in FULL_SIZE.items() for n in numbers]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise ValueError(f"Full-size photographs are missing: {missing}. Pass --data_dir=<directory with idrid/>.")
    return paths


def usual(data: bytes, size: int) -> tuple[Stages, np.ndarray]:
    """As public notebooks do it: `crop_image_from_gray`, resize, addWeighted."""

    def crop(image: np.ndarray, lit: np.ndarray) -> np.ndarray:
        kept = np.ix_(lit.any(axis=1), lit.any(axis=0))
        return np.stack([image[:, :, channel][kept] for channel in range(3)], axis=-1)

    return _usual(data, size, crop)


def lean(data: bytes, size: int) -> tuple[Stages, np.ndarray]:
    """The usual pipeline with a crop that copies nothing."""

    def crop(image: np.ndarray, lit: np.ndarray) -> np.ndarray:
        rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
        return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    return _usual(data, size, crop)


def _usual(data: bytes, size: int, crop: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> tuple[Stages, np.ndarray]:
    times = [time.process_time()]
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    times.append(time.process_time())
    cut = cv2.resize(crop(image, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) > 7), (size, size))
    times.append(time.process_time())
    out = cv2.addWeighted(cut, 4, cv2.GaussianBlur(cut, (0, 0), 10), -4, 128)
    times.append(time.process_time())
    return _stages(times, ("decode", "crop and resize", "Graham")), out


def ours(data: bytes, size: int) -> tuple[Stages, np.ndarray]:
    """The product's own path, as `tfrecord_tools.build` takes it; quality is timed apart and not in the total."""
    times = [time.process_time()]
    image, _ = decode_scaled(data, min_side=round(size * MARGIN))
    times.append(time.process_time())
    crop = crop_square(image, find_fov(image), size)
    times.append(time.process_time())
    out = preprocess(crop, "graham")
    times.append(time.process_time())
    stages = _stages(times, ("decode", "crop and resize", "Graham"))
    quality(crop)
    stages["quality (not in total)"] = 1000 * (time.process_time() - times[-1])
    return stages, out


def _stages(times: list[float], names: tuple[str, ...]) -> Stages:
    stages = {name: 1000 * (b - a) for name, a, b in zip(names, times, times[1:], strict=False)}
    return {**stages, "total": 1000 * (times[-1] - times[0])}


def fidelity(data: bytes, size: int) -> float:
    """Returns the PSNR in dB of our result against a full decode, cut along the same box and area-resized."""
    image, denominator = decode_scaled(data, min_side=round(size * MARGIN))
    fov = find_fov(image)
    full = crop_square(decode_photograph(data), fov.scaled(denominator), size)
    return psnr(preprocess(crop_square(image, fov, size), "graham"), preprocess(full, "graham"))


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio of two uint8 pictures in dB."""
    error = np.mean((image.astype(np.float64) - reference) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def measure(photographs: list[bytes], size: int, repeats: int) -> dict[str, Stages]:
    """Returns the median milliseconds of every stage of each pipeline, which take turns."""
    pipelines: dict[str, Callable[[bytes, int], tuple[Stages, np.ndarray]]] = {
        "usual": usual,
        "lean": lean,
        "ours": ours,
    }
    seen: dict[str, dict[str, list[float]]] = {name: {} for name in pipelines}
    for turn in range(repeats + 1):
        for data in photographs:
            for name, pipeline in pipelines.items():
                stages, _ = pipeline(data, size)
                if turn:  # the first turn warms up
                    for stage, value in stages.items():
                        seen[name].setdefault(stage, []).append(value)
    return {name: {stage: statistics.median(values) for stage, values in by.items()} for name, by in seen.items()}


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}. All options are flags.")
    cv2.setNumThreads(1)
    photographs = [path.read_bytes() for path in full_size_photographs(Path(DATA_DIR.value))]
    medians = measure(photographs, SIZE.value, REPEATS.value)
    print(f"{len(photographs)} photographs of 4288x2848 to {SIZE.value} px, median of {REPEATS.value} turns")
    print(f"{'CPU ms per photograph':24}{'usual':>8}{'lean':>8}{'ours':>8}{'usual/ours':>12}{'lean/ours':>11}")
    for stage, value in medians["ours"].items():
        before = [medians[name].get(stage) for name in ("usual", "lean")]
        left = "".join(f"{'' if cost is None else format(cost, '.1f'):>8}" for cost in before)
        right = "".join(f"{'' if cost is None else format(cost / value, '.1f'):>11}" for cost in before)
        print(f"{stage:24}{left}{value:8.1f} {right}")
    ratios = [fidelity(data, SIZE.value) for data in photographs]
    print(f"PSNR dB: {' '.join(f'{value:.1f}' for value in ratios)} (least {min(ratios):.1f})")
    speedup = medians["usual"]["total"] / medians["ours"]["total"]
    if speedup < LEAST_SPEEDUP.value or min(ratios) < LEAST_PSNR.value:
        print(f"FAILED: {speedup:.2f}x at {min(ratios):.1f} dB", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
