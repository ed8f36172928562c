"""Two columns of a table that answer one question, as two graders do: where they differ, it is said which was read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dr_edge.data.grades import grade_in_words
from tfrecord_tools.own_data.class_names import plain, whole_number
from tfrecord_tools.own_data.columns import find_column, question_of
from tfrecord_tools.own_data.guess import FEW_VALUES
from tfrecord_tools.own_data.rows import place
from tfrecord_tools.own_data.table import Table


def differing_graders(tables: Sequence[Table], read: Iterable[str]) -> list[str]:
    """Returns a sentence for each pair of columns that ask the same and differ in some row.

    Args:
      tables: whole, of the same columns.
      read: the label columns, as the user wrote them; a pair is looked at where one of them is read.
    """
    columns = tables[0].columns
    wanted = [column for name in read if (column := find_column(columns, name)) is not None]
    pairs = [
        (one, other)
        for one in wanted
        for other in columns
        if _one_question(one, other) and (other not in wanted or one < other)
    ]
    return [sentence for one, other in pairs if (sentence := _sentence(tables, one, other, both=other in wanted))]


def _one_question(one: str, other: str) -> bool:
    """Says if two columns differ by a grader, a number or a turn only: DR_1 and DR_2, gradeA and gradeB, final DR."""
    if one == other:
        return False
    (first, by_grader), (second, by_other) = question_of(one), question_of(other)
    return first == second and (bool(first) or (by_grader and by_other))


def _sentence(tables: Sequence[Table], one: str, other: str, *, both: bool) -> str:
    """Returns what is to be said of two columns; "" where they never differ, or hold answers of two kinds."""
    held, apart = 0, 0
    first = ("", "", "")  # of the rows that differ
    here_answered: set[int | str] = set()
    there_answered: set[int | str] = set()
    for where, here, there in _answered_twice(tables, one, other):
        here_means, there_means = _answer(here), _answer(there)
        here_answered.add(here_means)
        there_answered.add(there_means)
        if len(here_answered | there_answered) > FEW_VALUES:
            return ""
        held += 1
        if here_means != there_means:
            apart, first = apart + 1, first if apart else (where, here, there)
    if not apart or not here_answered & there_answered:
        return ""
    where, here, there = first
    what = "Both were read, each as a label of its own" if both else f"{one} was read"
    return (
        f"{one} and {other} seem to ask the same, and differ in {apart} of {held} rows (the first is {where}:"
        f" {here!r} and {there!r}). {what}. If they are two graders' answers, decide which holds and write it into one "
        "column."
    )


def _answered_twice(tables: Sequence[Table], one: str, other: str) -> Iterator[tuple[str, str, str]]:
    """Yields place, cell and other cell of the rows in which both columns are filled."""
    for table in tables:
        for number, cells in table.rows:
            if cells.get(one) and cells.get(other):
                yield place(table, number), cells[one], cells[other]


def _answer(cell: str) -> int | str:
    """Returns what two spellings of one answer share: "2", "2.0" and "moderate NPDR" alike."""
    number = whole_number(cell)
    grade = grade_in_words(cell) if number is None else number
    return plain(cell) if grade is None else grade
