"""Progress of a stage: a bar on a terminal; elsewhere, in a log, a line a minute and one at the end.

Everything that shows progress makes a `Progress`, which is tqdm's bar otherwise. tqdm draws its bar anew ten times a
second also where nobody watches, and a log of a night's training would hold thousands of them.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

LOG_SECONDS = 60.0  # between two lines where no terminal is
_LINE = "{desc}: {n_fmt} of {total_fmt} {unit}, {rate_fmt}, {elapsed} gone, {remaining} left{postfix}"
_END = "{desc}: {n_fmt} of {total_fmt} {unit} in {elapsed}, {rate_fmt}{postfix}"
_OPEN = "{desc}: {n_fmt} {unit}, {rate_fmt}, {elapsed} gone{postfix}"  # how many there are is not known


class Progress(tqdm):
    """tqdm's bar; where its stream is no terminal, lines with done and total, rate, and time left.

    Where nothing is left on the terminal at the end (leave=False), a log gets no line at the end either.
    """

    def __init__(self, *positional: Any, log_seconds: float = LOG_SECONDS, **named: Any) -> None:
        """Takes what tqdm takes.

        Args:
          log_seconds: between two lines where no terminal is.
        """
        stream = named.get("file") or sys.stderr
        self._in_lines = not is_terminal(stream)
        self._log_seconds, self._last_line, self._ended = log_seconds, time.monotonic(), False
        if self._in_lines:
            named |= {"bar_format": None, "mininterval": min(1.0, log_seconds), "dynamic_ncols": False, "miniters": 1}
        super().__init__(*positional, **named)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draws the bar, or writes a line where one is due."""
        if not self._in_lines:
            super().display(msg, pos)
            return
        now = time.monotonic()
        if now - self._last_line >= self._log_seconds and not self._ended:
            self._last_line = now
            self._write_line(_OPEN if self.total is None else _LINE)

    def close(self) -> None:
        """Ends the bar, or writes the last line."""
        if self._in_lines and not self.disable and not self._ended:
            self._ended = True
            if self.leave and self.n and time.time() - self.start_t >= self.delay:
                # Without a rate it states the mean of all, as tqdm's own last line.
                self._write_line(_OPEN if self.total is None else _END, rate=None)
            self.sp = None  # tqdm has drawn nothing that it must wipe away
        super().close()

    def _write_line(self, form: str, **others: Any) -> None:
        line = {"bar_format": form, "prefix": (self.desc or "progress").rstrip(": "), "ncols": None}
        values = self.format_dict | others | line
        self.fp.write(self.format_meter(**values).lstrip() + "\n")
        self.fp.flush()


def is_terminal(stream: Any) -> bool:
    """Says whether a person watches the stream."""
    return bool(getattr(stream, "isatty", lambda: False)())
