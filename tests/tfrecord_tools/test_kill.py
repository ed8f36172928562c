"""kill -9 at any moment, run again: the build goes on where it was and ends with the same bytes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ARGUMENTS = ["--dataset=synthetic", "--limit=160", "--image_size=96", "--shard_examples=20", "--workers=2"]


def digests(records: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(records.iterdir())}


def start(out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tfrecord_tools.build", *ARGUMENTS, f"--out={out}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def running(session: int) -> list[int]:
    """Processes of a session that are not yet reaped."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def all_ended(session: int) -> bool:
    """Whether all processes of a session end within some seconds."""
    deadline = time.monotonic() + 20
    while running(session) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not running(session)


@pytest.mark.parametrize("most", [2, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to look for left-over processes")
def test_random_kills_end_with_the_same_bytes(most: int, tmp_path: Path):
    began = time.monotonic()
    whole = start(tmp_path / "whole")
    assert whole.wait(timeout=300) == 0
    took = time.monotonic() - began
    expected = digests(tmp_path / "whole")
    rng = random.Random(20261120)
    out = tmp_path / "killed"
    kills = restarts = 0
    spool = tmp_path / ".killed.building" / "spool"
    chunks = 0
    while kills < most:
        process = start(out)
        try:
            process.wait(timeout=rng.uniform(0.05, 0.35) * took)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        else:
            assert process.returncode == 0 and digests(out) == expected
            for path in out.iterdir():
                path.unlink()
            out.rmdir()
            restarts += 1
            chunks = 0
        assert all_ended(process.pid), "workers end with the process that started them"
        assert not (out / "dataset.json").exists() or digests(out) == expected, "what stands there is whole"
        now = len(list(spool.glob("*.json"))) if spool.is_dir() else 0
        assert now >= chunks or out.is_dir(), "finished chunks are kept"
        chunks = now
    assert start(out).wait(timeout=300) == 0
    assert digests(out) == expected
    assert not (tmp_path / ".killed.building").exists()


def test_interrupt_says_how_to_go_on(tmp_path: Path):
    process = subprocess.Popen(
        # Many more images than are made before the interrupt comes, however slow the machine is at noticing the first.
        [sys.executable, "-m", "tfrecord_tools.build", *ARGUMENTS, "--limit=5000", f"--out={tmp_path}/out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.building/spool/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130  # of every interrupted command, as shells report SIGINT
    assert f"Run the same command again: it goes on from {tmp_path}/.out.building" in errors
    assert "Traceback" not in errors
    assert all_ended(process.pid)


def test_damaged_chunk_is_made_again(tmp_path: Path, run_build, small_records: Path, monkeypatch):
    """A power failure may leave a chunk whose bytes are not what its note says."""
    from tfrecord_tools import assembly

    options = {"limit": 40, "image_size": 96, "preprocess": "graham", "shard_examples": 8}

    def stop(*_: object) -> None:
        raise RuntimeError("power failure")

    with monkeypatch.context() as patch:
        patch.setattr(assembly, "read_facts", stop)
        with pytest.raises(RuntimeError, match="power failure"):
            run_build("synthetic", None, tmp_path / "out", **options)
    spool = tmp_path / ".out.building" / "spool"
    frames = sorted(spool.glob("*.tfrecord"))
    assert len(frames) == 2
    frames[0].write_bytes(frames[0].read_bytes()[:-100])
    (spool / "chunk-000001.json").write_text("{", encoding="utf-8")
    run_build("synthetic", None, tmp_path / "out", **options)
    assert digests(tmp_path / "out") == digests(small_records)
