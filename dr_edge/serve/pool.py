"""Keeps a few worker processes at work, replaces those that crash, hang or are killed, and bounds who may wait."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from dr_edge.prediction.bundle import Bundle
from dr_edge.serve import frames
from dr_edge.serve.errors import INTERNAL, PHOTOGRAPH_STATUS, UNPROCESSABLE, Busy, RequestError
from dr_edge.serve.settings import Settings

LOGGER = logging.getLogger("dr_edge.serve")
START_SECONDS = 60.0
RESTART_PAUSE = 1.0
RETRY_SECONDS = 10
TOO_SLOW, TOO_SLOW_TO_DECODE, CRASHED = "too slow", "too slow to decode", "decoder crashed"
BROKEN_REPLY, CANCELLED, KILLED, ENDED_IDLE = "broken reply", "cancelled", "killed", "ended while idle"
REASONS = (TOO_SLOW, TOO_SLOW_TO_DECODE, CRASHED, BROKEN_REPLY, CANCELLED, KILLED, ENDED_IDLE)
PIECE = 1 << 18  # bytes written to a worker at once: what its pipe does not take is copied


@dataclasses.dataclass
class Counts:
    """What happened to workers: reason of their end -> how often."""

    replaced: dict[str, int] = dataclasses.field(default_factory=dict)

    def by_reason(self) -> dict[str, int]:
        """Returns every reason that there is, with how often it was met."""
        return {reason: self.replaced.get(reason, 0) for reason in REASONS}


class Pool:
    """A fixed number of workers.

    Args:
      bundle: what they run; its bytes are handed over, so that a bundle replaced on disk changes nothing.
      settings: limits.
    """

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        self._bundle, self._settings = bundle, settings
        self._idle: asyncio.Queue[asyncio.subprocess.Process] = asyncio.Queue()
        self._all: set[asyncio.subprocess.Process] = set()
        self._busy: set[asyncio.subprocess.Process] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.counts = Counts()

    @property
    def ready(self) -> int:
        """How many workers are alive, at work or waiting for it."""
        return len(self.processes())

    def processes(self) -> list[int]:
        """Returns the process ids of the workers."""
        return sorted(worker.pid for worker in self._all if worker.returncode is None)

    async def start(self) -> None:
        """Starts all workers.

        Raises:
          RuntimeError: one cannot start.
        """
        await asyncio.gather(*(self._add() for _ in range(self._settings.workers)))

    async def close(self) -> None:
        """Ends all workers."""
        for task in self._tasks:
            task.cancel()
        for worker in list(self._all):
            await _end(worker)
        self._all.clear()

    async def predict(self, data: bytes | bytearray, label: str | None, pictures: bool) -> tuple[str, str]:
        """Has a photograph answered.

        Returns:
          The answer's status, and the answer as JSON text.

        Raises:
          Busy: no worker became free in time, or somebody killed the one that had the photograph.
          RequestError: the photograph is refused, or crashed its worker; 500 where the fault is the worker's own, which
            is logged with its traceback.
        """
        try:
            worker = await asyncio.wait_for(self._take(), self._settings.wait_seconds)
        except TimeoutError as err:
            raise Busy("No worker became free.", round(self._settings.wait_seconds)) from err
        request = {"label": label, "pictures": pictures}
        try:
            reply = await asyncio.wait_for(_ask(worker, request, data), self._settings.wall_seconds)
        except TimeoutError as err:
            self._replace(worker, TOO_SLOW)
            raise Busy("The photograph could not be graded in time.", RETRY_SECONDS) from err
        except ValueError as err:
            LOGGER.error("worker %d sent no frame: %s", worker.pid, err)
            self._replace(worker, BROKEN_REPLY)
            raise RequestError(500, "internal error", INTERNAL) from err
        except (asyncio.IncompleteReadError, OSError) as err:
            reason = CANCELLED
            try:
                reason = await _reason_of_death(worker)
            finally:
                self._replace(worker, reason)
            if reason == KILLED:
                words = "The process that graded the photograph was ended from outside, perhaps for want of memory."
                raise Busy(words, RETRY_SECONDS) from err
            raise RequestError(
                UNPROCESSABLE, reason, "The photograph could not be decoded and was given up; it may be damaged."
            ) from err
        except BaseException:  # the request was cancelled: the worker's answer would reach the next one
            self._replace(worker, CANCELLED)
            raise
        self._give_back(worker)
        if "refused" in reply:
            why = reply["refused"]
            status = PHOTOGRAPH_STATUS.get(why["reason"], UNPROCESSABLE)
            raise RequestError(status, why["reason"], why["message"])
        if "failed" in reply:
            LOGGER.error("worker %d failed with %s:\n%s", worker.pid, reply["failed"], reply["trace"])
            raise RequestError(500, "internal error", INTERNAL)
        return reply["status"], reply["answer"]

    async def _take(self) -> asyncio.subprocess.Process:
        """Waits for an idle worker that is alive; the dead ones met on the way are replaced."""
        while True:
            worker = await self._idle.get()
            if worker not in self._all:
                continue  # it died while it lay here, and was replaced then
            if worker.returncode is None:
                self._busy.add(worker)
                return worker
            self._replace(worker, ENDED_IDLE)

    def _give_back(self, worker: asyncio.subprocess.Process) -> None:
        if worker.returncode is not None:  # it answered and ended, and `_watch` saw it at work
            self._replace(worker, ENDED_IDLE)
            return
        self._busy.discard(worker)
        self._idle.put_nowait(worker)

    async def _watch(self, worker: asyncio.subprocess.Process) -> None:
        """Replaces a worker that ends with nothing to do; the death of one at work is `predict`'s to explain."""
        await worker.wait()
        if worker in self._all and worker not in self._busy:
            self._replace(worker, ENDED_IDLE)

    def _replace(self, worker: asyncio.subprocess.Process, reason: str) -> None:
        self.counts.replaced[reason] = self.counts.replaced.get(reason, 0) + 1
        LOGGER.warning("worker %d is replaced: %s (exit status %s)", worker.pid, reason, worker.returncode)
        self._all.discard(worker)
        self._busy.discard(worker)
        self._keep(self._end_and_add(worker))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # asyncio itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)

    async def _end_and_add(self, worker: asyncio.subprocess.Process) -> None:
        await _end(worker)
        while True:
            try:
                return await self._add()
            except (RuntimeError, OSError) as err:
                LOGGER.error("a worker cannot start: %s", err)
                await asyncio.sleep(RESTART_PAUSE)

    async def _add(self) -> None:
        worker = await self._started()
        self._all.add(worker)
        self._idle.put_nowait(worker)
        self._keep(self._watch(worker))

    async def _started(self) -> asyncio.subprocess.Process:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_LOG_LEVEL": "SILENT"}
        # In a session of its own: Ctrl-C and `kill` of the group reach the server alone, which ends its workers.
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "dr_edge.serve.worker", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env=environment, start_new_session=True,
        )  # fmt: skip
        bundle, settings = self._bundle, self._settings
        point = bundle.operating_point
        head = {
            "directory": str(bundle.directory),
            "manifest": dict(bundle.manifest),
            "artifact": bundle.artifact,
            "sha256": bundle.sha256,
            "operating_point": None if point is None else dataclasses.asdict(point),
            "min_quality": bundle.min_quality,
            "threads": settings.threads,
            "max_pixels": settings.max_pixels,
            "cpu_seconds": settings.cpu_seconds,
        }
        try:
            await asyncio.wait_for(_ask(worker, head, bundle.content), START_SECONDS)
        except (TimeoutError, asyncio.IncompleteReadError, OSError, ValueError) as err:
            await _end(worker)
            raise RuntimeError(
                f"its process ended before it was ready (exit status {worker.returncode}); what it printed stands "
                "above."
            ) from err
        return worker


async def _ask(worker: asyncio.subprocess.Process, head: dict[str, Any], body: bytes | bytearray) -> dict[str, Any]:
    """Sends a frame and returns the head of the reply."""
    source, sink = worker.stdout, worker.stdin
    if source is None or sink is None:
        raise OSError("the worker has no pipes")
    sink.write(frames.pack(head, body))
    view = memoryview(body)
    for start in range(0, len(view), PIECE):
        sink.write(view[start : start + PIECE])
        await sink.drain()
    length, _ = frames.unpack_prefix(await source.readexactly(frames.PREFIX.size))
    return json.loads(await source.readexactly(length))


async def _reason_of_death(worker: asyncio.subprocess.Process) -> str:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(worker.wait(), 2.0)
    if _died_of(worker, "SIGXCPU"):
        return TOO_SLOW_TO_DECODE
    # Decoders die of other signals, the limit on memory (worker.py) is a MemoryError, and what this file kills it has
    # given up before: somebody else killed this one, such as the kernel for want of memory.
    return KILLED if _died_of(worker, "SIGKILL") else CRASHED


def _died_of(worker: asyncio.subprocess.Process, name: str) -> bool:
    """Returns whether a worker died of a signal; Windows has not every one."""
    number = getattr(signal, name, None)
    return number is not None and worker.returncode == -number


async def _end(worker: asyncio.subprocess.Process) -> None:
    if worker.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
        await worker.wait()
    if worker.stdin is not None:
        worker.stdin.close()
