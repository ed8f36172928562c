"""The finder graph against the finder that commands use, on real photographs, and against the truth on drawn ones.

    python -m pytest tests/benchmarks/bench_finder.py -o python_files='bench_*.py' -s       (needs ../shared/data)

Prints the share of boxes that both find alike, what each refuses, the errors on 2,000 drawn frames, the size of the
file and its CPU time against the other finder's, in turns.
"""

from __future__ import annotations

import collections
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from framed_eyes import framed

from dr_edge.finder.artifact import as_function, as_tflite
from dr_edge.finder.thumbnail import thumbnail_of
from dr_edge.finder.verdict import VERDICTS
from dr_edge.fundus.fov import find
from dr_edge.fundus.gradability import NotFundusError
from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.photograph import decode_photograph

BATCH = 16
KINDS = (".jpg", ".jpeg", ".png", ".tif", ".tiff")


def located(photographs):
    """Yields (name, picture, what the graph says of it) in batches."""
    compiled, waiting = as_function(BATCH), []

    def answered():
        thumbnails, sizes = zip(*(thumbnail_of(picture) for _, picture in waiting), strict=True)
        rest = BATCH - len(waiting)
        thumbnails, sizes = (np.concatenate([*part, *[part[-1]] * rest]) for part in (thumbnails, sizes))
        answers = {name: value.numpy() for name, value in compiled(thumbnail=thumbnails, size=sizes).items()}
        for place, (name, picture) in enumerate(waiting):
            yield name, picture, {key: value[place] for key, value in answers.items()}
        waiting.clear()

    for item in photographs:
        waiting.append(item)
        if len(waiting) == BATCH:
            yield from answered()
    if waiting:
        yield from answered()


def overlap(one, other) -> float:
    """Returns the intersection over the union of two boxes (top, left, bottom, right)."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared / (float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared)


def real(data: Path):
    for path in sorted(path for path in data.rglob("*") if path.suffix.lower() in KINDS and "GT" not in path.parts):
        try:
            yield str(path.relative_to(data)), decode_photograph(path.read_bytes())
        except PhotographError:
            continue


def test_real_photographs(real_data: Path):
    overlaps, table, worst = [], collections.Counter(), []
    for name, picture, answer in located(real(real_data)):
        verdict = VERDICTS[answer["verdict"]]
        try:
            other = find(picture)
        except NotFundusError as err:
            table[err.reason, verdict] += 1
            continue
        table[other.kind, verdict] += 1
        overlaps.append(overlap(np.array(other.fov.box), answer["box"]))
        if overlaps[-1] < 0.94 or (verdict != "ok" and other.kind == "colour"):
            worst.append((round(overlaps[-1], 3), name, verdict))
    overlaps = np.array(overlaps)
    print(f"\n{len(overlaps)} photographs with a box; overlap of both boxes at least")
    print(", ".join(f"{limit}: {(overlaps >= limit).mean():.2%}" for limit in (0.97, 0.95, 0.9)))
    print("\n".join(f"{before} -> {now}: {count}" for (before, now), count in sorted(table.items())))
    print("\n".join(str(row) for row in sorted(worst)))
    assert (overlaps >= 0.97).mean() > 0.98 and (overlaps >= 0.95).mean() > 0.99


def test_drawn_frames():
    errors, refused = collections.defaultdict(list), collections.Counter()
    frames = (framed(number) for number in range(2000))
    truth = collections.deque()
    for name, _, answer in located((truth.append(frame.box) or (frame.name, frame.image)) for frame in frames):
        box = truth.popleft()
        radius = max(box[2] - box[0], box[3] - box[1]) / 2
        errors[name].append(float(np.abs(answer["box"] - box).max() / radius))
        refused[name] += VERDICTS[answer["verdict"]] != "ok"
    every = np.concatenate(list(errors.values()))
    print(f"\n2,000 frames: {(every < 0.015).mean():.2%} within 1.5 % of the radius, median {np.median(every):.2%}")
    for name, values in errors.items():
        print(f"{name:18} {(np.array(values) < 0.015).mean():.1%} refused {refused[name]}")
    assert (every < 0.015).mean() >= 0.99


def test_size_and_time(real_data: Path):
    from ai_edge_litert.interpreter import Interpreter

    cv2.setNumThreads(1)
    content = as_tflite()
    runner = Interpreter(model_content=content, num_threads=1).get_signature_runner("locate")
    path = next(
        path for path in (real_data / "idrid").rglob("IDRiD_007.jpg") if "Testing" in str(path)
    )  # 12 megapixels
    picture = decode_photograph(path.read_bytes())
    thumbnail, size = thumbnail_of(picture)
    spent: dict[str, list[float]] = {"graph": [], "thumbnail": [], "fov.find": []}
    for _ in range(40):
        for name, run in (
            ("graph", lambda: runner(thumbnail=thumbnail, size=size)),
            ("thumbnail", lambda: thumbnail_of(picture)),
            ("fov.find", lambda: find(picture)),
        ):
            start = time.process_time()
            run()
            spent[name].append(time.process_time() - start)
    middle = {name: 1000 * float(np.median(values)) for name, values in spent.items()}
    operations = len(Interpreter(model_content=content)._get_ops_details())
    print(f"\n{len(content) / 1000:.0f} kB, {operations} operations; CPU ms on {picture.shape}: {middle}")
    print(f"graph / fov.find: {middle['graph'] / middle['fov.find']:.2f}")
    assert middle["graph"] < middle["fov.find"]


@pytest.fixture(autouse=True)
def one_thread():
    """OpenCV with one thread."""
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(-1)
