"""Worker processes: in order, bounded, and outliving one that dies."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import pytest

from tfrecord_tools import pool
from tfrecord_tools.items import Item
from tfrecord_tools.pool import DEATH, IN_FLIGHT_PER_WORKER, process_all
from tfrecord_tools.process import Settings


@pytest.fixture
def photos(tmp_path: Path, save_photo) -> list[Item]:
    for seed in range(4):
        save_photo(tmp_path / f"{seed}.png", seed)
    return [Item(str(seed), f"{seed}.png", str(seed)) for seed in range(4)]


def test_order_is_kept_and_no_more_than_needed_is_taken_up(tmp_path: Path, photos: list[Item]):
    taken = []

    def items():
        for number in range(30):
            taken.append(number)
            yield Item(str(number), photos[number % 4].path, "p")

    outcomes = process_all(items(), Settings(str(tmp_path), 64, "crop"), 2)
    first = [next(outcomes) for _ in range(3)]
    assert [outcome.item.image_id for outcome in first] == ["0", "1", "2"]
    assert len(taken) <= 3 + 2 * IN_FLIGHT_PER_WORKER
    assert [outcome.item.image_id for outcome in outcomes] == [str(number) for number in range(3, 30)]


DEADLY = """
import os

from tfrecord_tools import pool
from tfrecord_tools.process import process


def work(item):
    if item.image_id == "2":
        os.kill(os.getpid(), 9)
    return process(item, pool._settings)
"""


def test_image_that_kills_its_worker_is_rejected_and_no_other(tmp_path: Path, photos: list[Item], monkeypatch):
    (tmp_path / "deadly_decoder.py").write_text(DEADLY, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)  # spawned workers get the same path
    monkeypatch.setattr(pool, "_work", importlib.import_module("deadly_decoder").work)
    outcomes = list(process_all(photos, Settings(str(tmp_path), 64, "crop"), 2))
    assert [outcome.item.image_id for outcome in outcomes] == ["0", "1", "2", "3"]
    assert [outcome.reason for outcome in outcomes] == ["", "", DEATH, ""]


def test_workers_below_one_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="--workers must be at least 1. Received: 0"):
        next(process_all([], Settings(str(tmp_path), 64, "crop"), 0))


def test_a_worker_that_ends_while_it_sends_holds_nobody(tmp_path: Path):
    """An interrupted build said how to go on and then hung, once in forty times: a thread waited for the rest."""

    def received() -> int:
        return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])

    executor = pool._executor(Settings(str(tmp_path), 64, "crop"), 1)
    executor.submit(bytes, 10).result()  # it has started
    before, until = received(), time.monotonic() + 60
    thread = executor._executor_manager_thread
    executor.submit(bytes, 400_000_000)
    while received() - before < 10_000_000 and time.monotonic() < until:
        pass
    pool._stop(executor)
    thread.join(20)
    assert not thread.is_alive()
