"""Columns of a table by the names that users give them: DR grade, dr_grade and DR-Grade are one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from dr_edge.data.class_words import plain_name, words_of
from tfrecord_tools.items import DatasetError

# Words by which the columns of one question differ; numbers and the letters a to d beside them.
_GRADERS = words_of(
    "grader graders reader rater observer annotator expert physician doctor ophthalmologist examiner reviewer arzt "
    "gutachter befunder untersucher leser lecteur lector medico medecin"
)
_SETTLED = words_of("adjudicated adjudication final consensus agreed konsens endgultig")
_TURNS = _SETTLED | words_of("first second third initial revised original opinion erst zweit by von")
_LETTERS = re.compile(r"\d+|[a-d]")


def plain_column(name: str) -> str:
    """Returns what spellings of one column name share: "DR grade", "dr_grade " and "DR-Grade" alike."""
    return re.sub(r"[\s_\-./]+", "", unicodedata.normalize("NFKC", name).casefold())


def question_of(column: str) -> tuple[tuple[str, ...], bool]:
    """Returns the words of a column's name that ask, and if others name a grader: ("dr",), True of DR_grader_1."""
    words = _words(column)
    asking = tuple(word for word in words if word not in _GRADERS | _TURNS and not _LETTERS.fullmatch(word))
    return asking, bool(set(words) & _GRADERS)


def is_settled(column: str) -> bool:
    """Says whether a column holds what several graders came to in the end: "adjudicated grade", "DR final"."""
    return bool(set(_words(column)) & _SETTLED)


def _words(column: str) -> list[str]:
    plain = plain_name(re.sub(r"([^\W\d_])(\d)", r"\1 \2", column))
    return re.findall(r"\d+|[^\W\d_]+", re.sub(r"(\d)(st|nd|rd|th)\b", r"\1", plain))


def find_column(columns: Sequence[str], wanted: str) -> str | None:
    """Returns the column of that name, else the one that differs in case, blanks or hyphens only; or None."""
    if wanted in columns:
        return wanted
    alike = [name for name in columns if plain_column(name) == plain_column(wanted)]
    return alike[0] if len(alike) == 1 else None


def named_columns(entries: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """Reads NAME or NAME=COLUMN entries -> name of the label or mask -> column as the user wrote it.

    Raises:
      DatasetError: one name for two columns.
    """
    named: dict[str, str] = {}
    for entry in entries:
        name, sign, column = entry.partition("=")
        whole = not sign or find_column(columns, entry) is not None
        called, wanted = (entry.strip(), entry.strip()) if whole else (name.strip(), column.strip())
        if called in named and named[called] != wanted:
            raise DatasetError(
                f"{called} is given two columns, {named[called]} and {wanted}. Give each a name of its own."
            )
        named[called] = wanted
    return named
