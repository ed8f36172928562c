"""Maps the work on one image over spawned processes: in order, with bounded memory, and outliving a worker that dies.

The workers import OpenCV and numpy only, never TensorFlow. A decoder that crashes or is killed for memory takes its
process with it; the images then in flight are tried again one by one, and only the one that kills again is rejected.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool

from tfrecord_tools.inside import digest_inside
from tfrecord_tools.items import Item, item_paths
from tfrecord_tools.process import Outcome, Settings, process

IN_FLIGHT_PER_WORKER = 4
DEATH = "the worker process died while reading it (a crash in a decoder, or killed for memory)"

_settings: Settings | None = None


def process_all(items: Iterable[Item], settings: Settings, workers: int) -> Iterator[Outcome]:
    """Yields the Outcome of each item, in the order of `items`; at most 4 items per worker are held in memory.

    Raises:
      ValueError: workers is below 1.
    """
    if workers < 1:
        raise ValueError(f"--workers must be at least 1. Received: {workers}.")
    waiting = iter(items)
    flight: deque[tuple[Item, concurrent.futures.Future[Outcome]]] = deque()
    executor = _executor(settings, workers)
    try:
        while True:
            while len(flight) < IN_FLIGHT_PER_WORKER * workers and (item := next(waiting, None)) is not None:
                flight.append((item, executor.submit(_work, item)))
            if not flight:
                return
            try:
                outcome = flight[0][1].result()
            except BrokenProcessPool:
                _stop(executor)
                retry = [item for item, _ in flight]
                flight.clear()
                yield from (_process_alone(item, settings) for item in retry)
                executor = _executor(settings, workers)
                continue
            flight.popleft()
            yield outcome
    finally:
        _stop(executor)


def _process_alone(item: Item, settings: Settings) -> Outcome:
    executor = _executor(settings, 1)
    try:
        return executor.submit(_work, item).result()
    except BrokenProcessPool:
        files = {path: digest_inside(settings.data_dir, path) for path in item_paths(item)}
        return Outcome(item, reason=DEATH, files=files)
    finally:
        _stop(executor)


def _executor(settings: Settings, workers: int) -> concurrent.futures.ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # a fork would copy TensorFlow's threads and locks
    return concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_start, initargs=(settings,))


def _stop(executor: concurrent.futures.ProcessPoolExecutor) -> None:
    """Ends the workers now; what they were reading is of no use any more."""
    processes, results = list((executor._processes or {}).values()), executor._result_queue
    executor.shutdown(wait=False, cancel_futures=True)
    for worker in processes:
        worker.terminate()
    for worker in processes:
        worker.join()
    # The thread that reads results would wait for ever for the rest of one that a worker was sending when it ended, and
    # this process for the thread: its own end of the pipe was the last one that is open.
    results._writer.close()  # type: ignore[attr-defined]


def _start(settings: Settings) -> None:
    import cv2

    global _settings
    _settings = settings
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """Ends this worker with its parent: after kill -9 nobody else would."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(item: Item) -> Outcome:
    if _settings is None:
        raise RuntimeError("The worker process was not started by process_all.")
    return process(item, _settings)
