"""What `predict` tells the one who waits, on standard error: how far it is, and at the end what was answered."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from dr_edge.prediction.schema import ANSWERED, UNREADABLE, Answer
from dr_edge.progress import Progress

FEW = 4  # so many photographs take about a second; more are worth a line also where nobody watches
SHOWN = 20  # lines of the summary; of more photographs those that were not answered are shown first


class Console:
    """Progress with the time left, and a summary.

    Args:
      total: photographs.
      stream: for people; None for silence.
      directory: where overlays go; None for none.
      warning: of the bundle, for whoever reads its answers; None for none.
    """

    def __init__(self, total: int, stream: TextIO | None, directory: Path | None, warning: str | None = None) -> None:
        self._stream, self._directory, self._answers = stream, directory, list[Answer]()
        self._warning = warning
        self._cut = self._enlarged = 0
        terminal = stream is not None and stream.isatty()
        self._summarised = stream is not None and (terminal or directory is not None)
        shown = stream is not None and total > 1 and (terminal or total > FEW)
        self._bar = Progress(
            total=total, desc="photographs", unit="photograph", file=stream, disable=not shown, dynamic_ncols=True,
            leave=not terminal,
        )  # fmt: skip

    @contextlib.contextmanager
    def printing(self, out: TextIO) -> Iterator[None]:
        """Takes the bar away while something is written to `out`, which may be the same terminal."""
        with Progress.external_write_mode(file=out) if out is sys.stdout and out.isatty() else contextlib.nullcontext():
            yield

    def add(self, answer: Answer) -> None:
        """Takes note of an answer."""
        if self._summarised:
            self._answers.append(answer)
        if answer.crop is not None:
            top, _, bottom, _ = answer.crop.box
            self._cut += 1
            self._enlarged += bottom - top < answer.crop.size
        self._bar.update()

    def close(self) -> None:
        """Ends the bar and prints the summary, and in any case how many photographs were enlarged, and the warning."""
        self._bar.close()
        if self._summarised and self._answers:
            print(self._summary(), file=self._stream)
        if self._enlarged and self._stream is not None:
            print(
                f"{self._enlarged} of {self._cut} photographs were enlarged: their field of view spans fewer pixels "
                "than the model sees, and small lesions may be lost. Use the original photographs.",
                file=self._stream,
            )
        if self._warning and self._stream is not None:
            print(self._warning, file=self._stream)

    def _summary(self) -> str:
        answers = self._answers
        if len(answers) > SHOWN:
            answers = sorted(answers, key=lambda answer: answer.status == ANSWERED)[:SHOWN]
        width = min(40, max(len(_name(answer)) for answer in answers))
        lines = [f"{_name(answer):<{width}}  {_words(answer)}" for answer in answers]
        if len(answers) < len(self._answers):
            lines.append(f"... and {len(self._answers) - len(answers)} more")
        counts = Counter(answer.status.replace("_", " ") for answer in self._answers)
        listed = ", ".join(f"{n} {status}" for status, n in counts.items())
        lines.append(f"{_number(len(self._answers), 'photograph')}: {listed}")
        drawn = sum(answer.overlay is not None for answer in self._answers)
        if drawn:
            lines.append(f"{_number(drawn, 'overlay')}: {self._directory}")
        elif self._directory is not None:
            lines.append("No overlay: no photograph had a crop to draw on.")
        return "\n".join(lines)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _name(answer: Answer) -> str:
    """Returns the file's name, with what a terminal would obey left out."""
    return "".join(sign if sign.isprintable() else "?" for sign in Path(answer.file or "").name)


def _words(answer: Answer) -> str:
    status = answer.status.replace("_", " ")
    # The message of an unreadable file repeats the whole path.
    message = answer.reason or "" if answer.status == UNREADABLE else answer.message
    message = "".join(sign if sign.isprintable() else "?" for sign in message.replace("\u00a0", " "))
    return f"{status}: {message}"
