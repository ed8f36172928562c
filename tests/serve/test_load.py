"""The load test of tests/benchmarks/bench_serve.py for eight seconds: only 200 and 503, answers to their askers."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path

import httpx
import pytest

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "bench_serve.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_serve", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_serve"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["bench_serve"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")
def test_sixty_four_clients_for_eight_seconds(bench, start_server, bundle_dir):
    photographs = bench.synthetic_photographs(6, size=512)
    with start_server(bundle_dir, "--workers=2", "--queue=16") as running:
        warm = asyncio.run(bench.press(running.url, running.process.pid, photographs, 8, 2.0))
        load = asyncio.run(bench.press(running.url, running.process.pid, photographs, 64, 8.0))
        assert not warm.wrong and not load.wrong, load.wrong[:5]
        assert set(warm.statuses) == {200} and set(load.statuses) == {200, 503}  # 64 are more than there are places
        assert load.statuses[200] > 40
        assert load.growth() < 0.10, load.summary()
        metrics = httpx.get(f"{running.url}/metrics").text.splitlines()
        assert "dr_edge_uploads 0.0" in metrics and "dr_edge_buffered_bytes 0.0" in metrics
        assert not [
            row for row in metrics if row.startswith("dr_edge_workers_replaced_total") and not row.endswith(" 0.0")
        ]
