"""What the readers of texts and of workbooks return alike: the rows of one sheet."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class SheetRows:
    """The rows of one sheet, as they stand.

    Attributes:
      rows: (row number as a spreadsheet shows it, cells).
      hidden: numbers of the rows that a filter or the user has hidden.
      doubtful: (row number, index of the cell) -> why its value may not be what is meant: "is struck through".
    """

    rows: Sequence[tuple[int, Sequence[object]]]
    hidden: Collection[int] = ()
    doubtful: Mapping[tuple[int, int], str] = dataclasses.field(default_factory=dict)
