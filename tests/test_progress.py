"""A bar on a terminal; in a log, a line when one is due and one at the end."""

from __future__ import annotations

import io
import time

import pytest

from dr_edge import progress
from dr_edge.progress import Progress


class Stream(io.StringIO):
    """What is written, with or without a terminal behind it."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def test_a_log_gets_whole_lines_at_their_time_and_one_at_the_end():
    stream = Stream(terminal=False)
    with Progress(total=50, desc="photographs", unit="image", file=stream, log_seconds=0.2) as bar:
        for _ in range(50):
            time.sleep(0.01)
            bar.update()
    said = stream.getvalue()
    assert "\r" not in said and said.endswith("\n")
    lines = said.splitlines()
    assert 2 <= len(lines) <= 6, said  # half a second, or more on a busy machine; never fifty
    assert (
        lines[0].startswith("photographs: ")
        and " of 50 image, " in lines[0]
        and " gone, " in lines[0]
        and " left" in lines[0]
    )
    assert lines[-1].startswith("photographs: 50 of 50 image in ")


@pytest.mark.parametrize("total", [24, None])
def test_the_last_line_gives_the_mean_rate(monkeypatch, total):
    """24 photographs in 2 seconds ended with "1.74s/img", the pace of the last one."""
    stream, clock = Stream(terminal=False), [1000.0]
    bar = Progress(total=total, desc="cut", unit="img", file=stream, log_seconds=0.1)
    monkeypatch.setattr(bar, "_time", lambda: clock[0])
    monkeypatch.setattr(time, "time", lambda: clock[0])
    bar.start_t = bar.last_print_t = clock[0]
    for step in [0.01] * 23 + [1.74]:
        clock[0] += step
        bar.update()
    bar.close()
    assert "12.18img/s" in stream.getvalue().splitlines()[-1]  # 24 in 1.97 seconds


def test_a_stage_of_thousands_of_steps_within_a_minute_is_one_line():
    stream = Stream(terminal=False)
    for _ in Progress(range(5000), desc="shards", unit="img", file=stream):
        pass
    assert len(stream.getvalue().splitlines()) == 1


def test_what_is_shown_beside_the_bar_makes_no_line_of_its_own():
    stream = Stream(terminal=False)
    with Progress(total=10, desc="train", unit="step", file=stream) as bar:
        for loss in range(10):
            bar.set_postfix({"loss": loss})  # on a terminal each of these draws the bar anew
            bar.update()
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("loss=9")


@pytest.mark.parametrize("named", [{"leave": False}, {"disable": True}, {"delay": 60.0}])
def test_a_stage_that_leaves_nothing_on_a_terminal_leaves_nothing_in_a_log(named):
    stream = Stream(terminal=False)
    for _ in Progress(range(20), file=stream, **named):
        pass
    assert stream.getvalue() == ""


def test_an_unknown_total_is_no_question_mark_of_a_total():
    stream = Stream(terminal=False)
    for _ in Progress(iter(range(20)), desc="read", unit="img", file=stream):
        pass
    assert stream.getvalue().startswith("read: 20 img, ")


def test_a_terminal_sees_the_bar():
    stream = Stream(terminal=True)
    for _ in Progress(range(20), desc="read", unit="img", file=stream, ncols=80, mininterval=0.0, miniters=1):
        pass
    assert stream.getvalue().count("\r") > 10 and "100%|" in stream.getvalue()


def test_a_stage_that_fails_says_how_far_it_came():
    stream = Stream(terminal=False)
    with pytest.raises(ValueError), Progress(total=9, desc="read", unit="img", file=stream) as bar:
        bar.update(4)
        raise ValueError
    assert stream.getvalue().startswith("read: 4 of 9 img")


def test_a_stream_that_is_none_is_no_terminal():
    assert not progress.is_terminal(None)
