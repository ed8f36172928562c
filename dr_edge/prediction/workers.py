"""Many photographs answered by several processes: in their order, and outliving one that dies.

Each process holds one interpreter and one photograph at a time. A decoder that crashes, or a photograph that takes all
memory, ends its process: the photograph is tried once more, alone, and set aside where that ends the process again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from dr_edge import cores
from dr_edge.prediction.answer import unreadable
from dr_edge.prediction.answering import Answered, Content
from dr_edge.prediction.bundle import Bundle

PER_WORKER = 8  # photographs: a process starts in the time that so many take
IN_FLIGHT_PER_WORKER = 4  # photographs, and answers that wait for one before them
STARTS = 3  # tries; the kernel may end a process for want of memory while it starts
DIED = "decoder crashed"
PROGRAM = "dr_edge.prediction.worker"


def sensible(photographs: int) -> int:
    """Returns how many processes answer so many photographs soonest; 1 where starting more is not worth its while."""
    return max(1, min(cores.available(), photographs // PER_WORKER))


class Workers:
    """Processes that answer photographs; a context, at whose end they are ended.

    Args:
      bundle: what they run; its bytes are handed over.
      count: how many.
      threads: of the arithmetic of each.

    Raises:
      ValueError: fewer than one, or LiteRT cannot read the artifact.
      RuntimeError: a process cannot start.
    """

    def __init__(self, bundle: Bundle, count: int, threads: int = 1) -> None:
        if count < 1:
            raise ValueError(f"workers must be at least 1. Received: {count}.")
        self._workers = [_Worker(bundle, threads) for _ in range(count)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._gate, self._places = threading.Lock(), threading.Semaphore(count)
        self._threads = ThreadPoolExecutor(count)

    def __enter__(self) -> Workers:
        try:
            for _ in self._threads.map(_Worker.start, self._workers):  # all at once
                pass
        except BaseException:
            self.close()
            raise
        for worker in self._workers:
            self._idle.put(worker)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all processes now; what they were reading is of no use any more."""
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.end()

    def answers(self, photographs: Iterable[Content], heat_maps: str | None = None) -> Iterator[Answered]:
        """Yields what `answering.answered` gives of each photograph, in their order.

        Raises:
          Exception: whatever failed at a photograph, when its turn comes.
        """
        waiting, flight = iter(photographs), deque[Future[Answered]]()
        room = IN_FLIGHT_PER_WORKER * len(self._workers)
        while True:
            for photograph in itertools.islice(waiting, room - len(flight)):
                flight.append(self._threads.submit(self._answered, photograph, heat_maps))
            if not flight:
                return
            yield flight.popleft().result()

    def _answered(self, photograph: Content, heat_maps: str | None) -> Answered:
        with self._gate:  # shut while one is tried alone
            self._places.acquire()
        try:
            return self._ask(photograph, heat_maps)
        except _EndedError:
            pass
        finally:
            self._places.release()
        return self._answered_alone(photograph, heat_maps)

    def _answered_alone(self, photograph: Content, heat_maps: str | None) -> Answered:
        """Tries a photograph again while no other is being read: two large ones may have needed too much together."""
        with self._gate, contextlib.ExitStack() as others:
            for _ in self._workers:
                self._places.acquire()
                others.callback(self._places.release)
            try:
                return self._ask(photograph, heat_maps)
            except _EndedError as err:
                file = photograph if isinstance(photograph, str) else None
                message = (
                    f"{DIED}: {file or 'the photograph'} ended the process that read it, twice ({err}): it may be "
                    "damaged, or need more memory than there is. Save it anew, or smaller."
                )
                return Answered(unreadable(file, DIED, message))

    def _ask(self, photograph: Content, heat_maps: str | None) -> Answered:
        worker = self._idle.get()
        try:
            return worker.ask((photograph, heat_maps))
        finally:
            self._idle.put(worker)


class _EndedError(Exception):
    """A process ended with a photograph in its hands; says how."""


class _Worker:
    """One process, started anew when it has ended; for one thread at a time, but for `kill`."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        self._order = bundle, threads
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def start(self) -> None:
        ended: list[str] = []
        while len(ended) < STARTS:
            self._process = _started()
            try:
                self._exchange(self._order)
                return
            except _EndedError as err:
                ended.append(str(err))
        raise RuntimeError(
            f"A process that answers photographs cannot start ({', '.join(ended)}); what it printed stands above. Use "
            "fewer workers."
        )

    def ask(self, request: tuple[Content, str | None]) -> Answered:
        if self._process is None:
            self.start()
        return self._exchange(request)

    def kill(self) -> None:
        """Ends the process and lets none be started; may be called while another thread waits for an answer."""
        self._closed = True  # first: who starts a process looks at it afterwards
        process = self._process
        if process is not None:
            process.kill()

    def _exchange(self, request: Any) -> Any:
        """Sends a request and returns the reply; raises the one that is an exception."""
        process = self._process
        if self._closed or process is None or process.stdin is None or process.stdout is None:
            self.end()
            raise RuntimeError("The processes that answer photographs were ended.")
        try:
            pickle.dump(request, process.stdin, pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            reply = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as err:
            raise _EndedError(self.end()) from err
        if isinstance(reply, Exception):
            raise reply
        return reply

    def end(self) -> str:
        """Ends the process, if it has not ended, and returns how it did."""
        process, self._process = self._process, None
        if process is None:
            return "not started"
        process.kill()
        status = process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        return f"signal {-status}" if status < 0 else f"exit status {status}"


def _started() -> subprocess.Popen[bytes]:
    """Starts a process that imports what this one would, wherever it was called from."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from {PROGRAM} import main; main()"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C reaches the parent alone, which ends its workers
    )
