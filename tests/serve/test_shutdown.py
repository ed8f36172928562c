"""The end of a server: photographs in hand are answered, no worker is replaced or left, and the log blames none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from serving import children_of, metric, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_the_end_of_a_service_replaces_no_worker_and_answers_the_photograph_in_hand(
    start_server, bundle_dir, photograph
):
    """As systemd ends it: SIGTERM to every process, here to the workers first."""
    with start_server(bundle_dir, "--workers=2") as running, ThreadPoolExecutor(1) as threads:
        workers = children_of(running.process.pid)
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        asked = threads.submit(httpx.post, f"{running.url}/v1/predict", files={"image": photograph}, timeout=30)
        wait_until(lambda: metric(running.url, "dr_edge_uploads") == 1)
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)
        running.process.terminate()
        assert asked.result().json()["status"] == "answered"
        running.process.wait(timeout=30)
        assert "is replaced" not in running.log.read_text()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_while_its_workers_start_a_server_blames_none_of_them(bundle_dir, tmp_path, number):
    command = [sys.executable, "-m", "dr_edge.serve", f"--bundle={bundle_dir}", "--port=0", "--workers=2"]
    with open(tmp_path / "log.txt", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=REPOSITORY, start_new_session=True)
    wait_until(lambda: len(children_of(process.pid)) == 2, 60)
    workers = children_of(process.pid)
    os.killpg(process.pid, number)
    process.wait(timeout=60)
    said = (tmp_path / "log.txt").read_text()
    assert "The page is at " in said and "Traceback" not in said and "error" not in said.lower(), said
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
