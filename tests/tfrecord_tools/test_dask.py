"""The builder on a Dask cluster: a scheduler and two workers, each a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("apache_beam", reason='Apache Beam is an extra: pip install "dr_edge[dask]"')
pytest.importorskip("distributed", reason='Dask is an extra: pip install "dr_edge[dask]"')
REPOSITORY = Path(__file__).resolve().parents[2]
OPTIONS = {"image_size": 96, "preprocess": "graham", "shard_examples": 8, "runner": "DaskRunner"}


class Cluster:
    """A scheduler on a free port, and workers with one thread each that are started where `add` says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.processes: list[subprocess.Popen[bytes]] = []
        self._start("dask_scheduler", "--host=127.0.0.1", "--port=0", f"--scheduler-file={self.file}", cwd=folder)
        wait_for(self.file.is_file)

    def add(self, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        own = self.folder / f"worker{len(self.processes)}"
        return self._start(
            "dask_worker", f"--scheduler-file={self.file}", "--nthreads=1", "--no-nanny", "--memory-limit=0",
            f"--local-directory={own}", cwd=cwd or self.folder,
        )  # fmt: skip

    def _start(self, module: str, *arguments: str, cwd: Path) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", f"distributed.cli.{module}", "--no-dashboard", *arguments]
        environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{os.environ.get('PYTHONPATH', '')}"}
        with open(self.folder / f"{module}{len(self.processes)}.log", "wb") as log:
            self.processes.append(subprocess.Popen(line, cwd=cwd, env=environment, stdout=log, stderr=log))
        return self.processes[-1]

    @property
    def options(self) -> tuple[str, ...]:
        return (f"dask_scheduler_file={self.file}",)


def wait_for(there: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not there():
        if time.monotonic() > end:
            raise TimeoutError(f"Not there after {seconds:g} s.")
        time.sleep(0.02)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        for process in cluster.processes:
            process.kill()
            process.wait()


def digests(records: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(records.iterdir())}


def test_two_workers_give_the_bytes_of_the_local_build(small_records: Path, tmp_path: Path, run_build):
    with running(tmp_path) as cluster:
        for _ in range(2):
            cluster.add()
        out = run_build("synthetic", None, tmp_path / "out", limit=40, beam_options=cluster.options, **OPTIONS)
        logs = [(tmp_path / f"dask_worker{number}.log").read_text() for number in (1, 2)]
    assert digests(out) == digests(small_records)
    assert all("Registered to" in log for log in logs), logs


@pytest.mark.slow
def test_a_worker_killed_in_mid_build_changes_no_byte(tmp_path: Path, run_build):
    local = run_build("synthetic", None, tmp_path / "local", limit=160, workers=2, **{**OPTIONS, "runner": "local"})
    with running(tmp_path) as cluster:
        victim = cluster.add()
        spool = tmp_path / ".dask.building" / "spool"
        left: list[int] = []

        def kill() -> None:
            """Once the only worker has finished one chunk and works on another; the second comes then."""
            wait_for(lambda: len(list(spool.glob("chunk-*.json"))) >= 1)
            wait_for(lambda: bool(list(spool.glob("chunk-*.tmp"))))
            victim.send_signal(signal.SIGKILL)
            left.append(5 - len(list(spool.glob("chunk-*.json"))))
            cluster.add()

        killer = threading.Thread(target=kill)
        killer.start()
        out = run_build("synthetic", None, tmp_path / "dask", limit=160, beam_options=cluster.options, **OPTIONS)
        killer.join()
    assert victim.returncode == -signal.SIGKILL and left[0] > 0
    assert digests(out) == digests(local)
    assert not [path for path in tmp_path.iterdir() if "building" in path.name]


@pytest.mark.slow
@pytest.mark.parametrize("unseen", ["photographs", "records"])
def test_a_worker_that_does_not_see_what_the_launcher_sees_is_one_sentence(
    tmp_path: Path, run_build, save_photo, monkeypatch, unseen: str
):
    """Both paths are the same text, and lead to where each process was started."""
    here, there = tmp_path / "here", tmp_path / "there"
    there.mkdir()
    for seed in range(6):
        save_photo(here / "eyes" / ("sick" if seed % 2 else "normal") / f"{seed}.png", seed, 300)
    monkeypatch.chdir(here)
    own = Path("/proc/self/cwd")
    data, out = (own / "eyes", tmp_path / "out") if unseen == "photographs" else (here / "eyes", own / "out")
    with running(tmp_path) as cluster:
        cluster.add(cwd=there)
        with pytest.raises(RuntimeError) as stop:
            run_build("folder", data, out, positive=("sick",), beam_options=cluster.options, **OPTIONS)
    place = r"/proc/self/cwd/eyes/\w+/\d.png" if unseen == "photographs" else r"/proc/self/cwd/.out.building/build.json"
    assert_one_sentence(str(stop.value), place)
    assert not list((out.parent / ".out.building" / "spool").glob("chunk-*.json")), "nothing half seen is kept"


def assert_one_sentence(said: str, place: str) -> None:
    import re

    wanted = (
        rf"Worker \S+ does not see {place}, as the launcher does. The photographs and --out must be on a file system "
        r"that every worker sees under the same path \(NFS, Lustre, a mounted bucket\)."
    )
    assert re.fullmatch(wanted, said), said


@pytest.mark.slow
def test_without_an_address_it_starts_workers_here(small_records: Path, tmp_path: Path, run_build):
    out = run_build("synthetic", None, tmp_path / "out", limit=40, workers=1, **OPTIONS)
    assert digests(out) == digests(small_records)
