"""The search for copies: against comparing every pair, its growth with the number of photographs, many copies of one.

    python -m pytest tests/benchmarks/bench_copies.py -s             (needs ../shared/data, see tests/conftest.py)
    COPIES=1000000 python -m pytest tests/benchmarks/bench_copies.py -s -k grows      (a sixteenth of it: ten minutes)

Pictures are made of those of real photographs: each is a random sum of 400 of them in random positions, so that
strangers are as alike as real ones are. "clustered": each also resembles one of N / 50 pictures with a correlation of
0.55 to 0.79, as photographs of one camera and one pole of the eye might, so that many pairs lie close to the threshold.
In both a hundredth are copies.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dr_edge.fundus.crop import crop_square
from dr_edge.fundus.fov import find_fov
from dr_edge.fundus.gradability import NotFundusError
from dr_edge.fundus.photograph import read_photograph
from tfrecord_tools.copy_basis import PLACES, POSITIONS
from tfrecord_tools.copy_fields import COLUMNS, ROWS, Fields
from tfrecord_tools.copy_search import copy_links
from tfrecord_tools.duplicates import COARSE_BYTES, FINE_SIDE, describe, near_pairs
from tfrecord_tools.split import components

SEEDS = 400
BLOCK = 8192
SAMPLE = 8192  # more pictures than the search tries its axes on


@pytest.fixture(scope="module")
def seeds(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The coarse pictures of real photographs, [400, 1024] float32 of length 1, in a file."""
    found: list[np.ndarray] = []
    paths = [path for folder in ("eyepacs/train", "idrid", "aptos/train_images")
             for path in sorted((real_data / folder).rglob("*.[jp][pn]*g"))[::5]]  # fmt: skip
    for path in paths[: SEEDS + 100]:
        photograph = read_photograph(path)
        try:
            picture = describe(crop_square(photograph, find_fov(photograph), 256))
        except NotFundusError:
            continue
        found.append(np.frombuffer(picture, np.int8)[:COARSE_BYTES].astype(np.float32))
    kept = np.stack(found[:SEEDS])
    file = tmp_path_factory.mktemp("seeds") / "seeds.npy"
    np.save(file, kept / np.linalg.norm(kept, axis=1, keepdims=True))
    return file


def crowd(seeds: np.ndarray, kind: str, count: int) -> np.ndarray:
    """[N, 1024] int8, see above."""
    rng = np.random.default_rng(0)
    made = np.empty((count, COARSE_BYTES), np.int8)
    turned = np.stack([picture[PLACES[rng.integers(POSITIONS)]] for picture in seeds])

    def some(number: int) -> np.ndarray:
        pictures = rng.standard_normal((number, len(seeds)), np.float32) @ turned
        return pictures / np.linalg.norm(pictures, axis=1, keepdims=True)

    centres = some(max(1, count // 50))
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        pictures = some(stop - start)
        if kind == "clustered":
            near = rng.uniform(0.3, 0.62, (stop - start, 1)).astype(np.float32)
            own = centres[rng.integers(0, len(centres), stop - start)]
            pictures = np.sqrt(near) * own + np.sqrt(1 - near) * pictures
        made[start:stop] = np.clip(np.rint(550 * pictures), -127, 127)
    for index in rng.integers(0, count, count // 100).tolist():
        copy = made[rng.integers(count), PLACES[rng.integers(POSITIONS)]] + rng.normal(0, 8, COARSE_BYTES)
        made[index] = np.clip(np.rint(copy), -127, 127)
    return made


def enlarged(coarse: np.ndarray):
    return lambda index: np.kron(coarse[index].reshape(32, 32), np.ones((2, 2), np.int8))


@pytest.mark.parametrize("kind", ["random", "clustered"])
def test_the_same_groups_as_every_pair_in_a_fraction_of_the_time(seeds: Path, kind: str):
    coarse = crowd(np.load(seeds), kind, 12_000)
    times = {}
    start = time.process_time()
    pairs = list(near_pairs(coarse, enlarged(coarse), lambda _: None))
    times["pairs"] = time.process_time() - start
    for name in ("exact", "filtered"):
        start = time.process_time()
        links = copy_links(coarse, enlarged(coarse), [0] * len(coarse), lambda _: None, filtered=name == "filtered")
        times[name] = time.process_time() - start
        same = components(range(len(coarse)), links) == components(range(len(coarse)), pairs)
        print(f"\ncopies, {kind}, 12,000, {name}: {times['pairs']:.1f} / {times[name]:.1f} s: "
              f"{times['pairs'] / times[name]:.1f}x; the same groups: {same}")  # fmt: skip
        assert same
    assert times["pairs"] / times["exact"] >= 8


GROWS = """
import resource, sys, time
import numpy as np
sys.path.insert(0, sys.argv[4])
from bench_copies import crowd, enlarged, only_one_in
from tfrecord_tools.copy_search import copy_links
coarse, share = crowd(np.load(sys.argv[1]), sys.argv[2], int(sys.argv[3])), int(sys.argv[5])
start = time.process_time()
began = only_one_in(share)
links = copy_links(coarse, enlarged(coarse), [0] * len(coarse), lambda _: None)
once = began[0] - start
took = once + (time.process_time() - began[0]) * share
print(took, once, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, len(links))
"""


def only_one_in(share: int) -> list[float]:
    """Lets the search compare one block of rows of so many, spread over all; returns where it writes when it begins."""
    began: list[float] = []
    passing = Fields.passing

    def some(fields: Fields, start: int):
        if len(began) == 0 and fields.blocks * COLUMNS > SAMPLE:  # else it is trying which axes to take
            began.append(time.process_time())
        return iter(()) if began and start // ROWS % share else passing(fields, start)

    Fields.passing = some  # type: ignore[method-assign]
    return began


@pytest.mark.parametrize("kind", ["random", "clustered"])
def test_time_grows_with_the_square_of_a_small_number(seeds: Path, kind: str):
    counts = [10_000, 88_702, *([int(os.environ["COPIES"])] if "COPIES" in os.environ else [])]
    times = {}
    for count in counts:
        share = 16 if count > 200_000 else 1
        line = [sys.executable, "-c", GROWS, str(seeds), kind, str(count), str(Path(__file__).parent), str(share)]
        took, once, memory, links = subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()
        times[count] = float(took)
        part = f", by 1/{share} of the comparisons" if share > 1 else ""
        print(f"\ncopies, {kind}, {count:,}: {times[count]:.1f} s of CPU, {float(once):.1f} of them before comparing, "
              f"{memory} MiB, {links} links{part}", flush=True)  # fmt: skip
    for one, other in itertools.pairwise(counts):
        slope = np.log(times[other] / times[one]) / np.log(other / one)
        print(f"slope from {one:,} to {other:,}: {slope:.2f}")
        assert slope < 2.1
    assert times[88_702] < 60


def test_many_copies_of_one_photograph(seeds: Path):
    """As `near_pairs` confirms them, each pair of 400, and as they are linked."""
    rng = np.random.default_rng(1)
    one = np.load(seeds)[0] * 550
    coarse = np.clip(np.rint(one + rng.normal(0, 5, (400, COARSE_BYTES))), -127, 127).astype(np.int8)
    assert enlarged(coarse)(0).shape == (FINE_SIDE, FINE_SIDE)
    start = time.process_time()
    pairs = list(near_pairs(coarse, enlarged(coarse), lambda _: None))
    middle = time.process_time()
    links = copy_links(coarse, enlarged(coarse), np.zeros(400, int), lambda _: None)
    end = time.process_time()
    print(f"\ncopies, 400 of one photograph: {len(pairs):,} pairs in {middle - start:.1f} s, "
          f"{len(links)} links in {end - middle:.2f} s")  # fmt: skip
    assert components(range(400), links) == components(range(400), pairs)
    assert (middle - start) / (end - middle) >= 20
