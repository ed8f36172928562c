"""`predict` over many photographs: two processes against one, in turns in one run; memory of each process.

  python -m pytest tests/benchmarks/bench_predict.py -o python_files='bench_*.py' -s

With DR_EDGE_RUN=RUN in the environment that run's bundle answers, else MobileNetV2 + CBAM at 320 px with random weights
(its arithmetic is what a trained one's is). 200 real photographs, IDRiD's and EyePACS' in turns. Wall time needs two
idle cores. On a busy machine the processor time tells what two cores can gain: that of one process against half of what
two take, behind what is done before they start, which is at most what one photograph takes from start to end.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = 200
TURNS = 3


@pytest.fixture(scope="module")
def photographs(real_data: Path) -> list[str]:
    sets = [sorted((real_data / name).rglob("*.jp*g")) for name in ("idrid", "eyepacs")]
    return [str(path) for pair in zip(*sets, strict=False) for path in pair][:PHOTOGRAPHS]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    out = tmp_path_factory.mktemp("predict") / "bundle"
    run = os.environ.get("DR_EDGE_RUN")
    if run is None:
        from dr_edge import build_model
        from dr_edge.data import tasks

        model = build_model("mobilenet_v2_cbam", image_size=64, outputs=2)
        run = request.getfixturevalue("write_run")(out.parent / "run", tasks.referable_dr(), model)
    from export.bundle import write

    write.export_run(run, out, ("float32",))
    return out


def predicted(bundle: Path, photographs: list[str], workers: int) -> tuple[float, float, str]:
    """Returns seconds by the clock, processor seconds of all processes, and the answers without their times."""
    command = [sys.executable, "-m", "dr_edge.predict", f"--bundle={bundle}", f"--workers={workers}", *photographs]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    took, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    content = json.loads(done.stdout)
    assert content["complete"] and content["photographs"] == len(photographs), done.stderr
    for answer in content["answers"]:
        del answer["milliseconds"]
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took, used, json.dumps(content)


def test_two_processes_against_one(bundle: Path, photographs: list[str]):
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    ratios, gains, rates = [], [], {1: 0.0, 2: 0.0}
    documents = set()
    _, alone, _ = predicted(bundle, photographs[:1], 1)
    for _ in range(TURNS):
        took, used = {}, {}
        for workers in (1, 2):
            took[workers], used[workers], document = predicted(bundle, photographs, workers)
            rates[workers] = len(photographs) / took[workers]
            documents.add(document)
        ratios.append(took[1] / took[2])
        gains.append(used[1] / (alone + (used[2] - alone) / 2))
    print(
        f"\n{len(photographs)} photographs: {rates[1]:.1f} and {rates[2]:.1f} a second, one process and two: "
        f"{statistics.median(ratios):.2f}x of {[round(ratio, 2) for ratio in sorted(ratios)]}; by processor time "
        f"{statistics.median(gains):.2f}x ({used[1]:.1f} s of one, {used[2]:.1f} s of two, {alone:.1f} s before they "
        f"start; load {load:.1f} on {cores} cores)"
    )
    assert len(documents) == 1, "the answers depend on the number of processes"
    assert statistics.median(gains) >= 1.8
    if cores < 2 or load > 0.25 * cores:
        pytest.skip(f"wall time needs two idle cores; here are {cores}, and the load was {load:.1f}")
    assert max(ratios) >= 1.8
