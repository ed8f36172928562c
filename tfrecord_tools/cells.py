"""A row of a table: column -> cell, in the memory of its cells. A dictionary for each of a million rows fills it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


class Cells(Mapping[str, str]):
    """The cells of a row under the names of their columns; rows of a table share one index of the names."""

    __slots__ = ("_places", "_values")

    def __init__(self, places: Mapping[str, int], values: Sequence[str]) -> None:
        """Takes column -> place in `values`, and the cells of the row; cells left out at its end are ""."""
        self._places, self._values = places, values

    def __getitem__(self, column: str) -> str:
        place = self._places[column]
        return self._values[place] if place < len(self._values) else ""

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return repr(dict(self))

    @property
    def places(self) -> Mapping[str, int]:
        """Column -> place in `values_only`."""
        return self._places

    @property
    def values_only(self) -> Sequence[str]:
        """The cells in their places."""
        return self._values

    def places_under(self, names: Mapping[str, str]) -> dict[str, int]:
        """Returns the index of names that `moved` takes, of new name -> column."""
        return {name: self._places[column] for name, column in names.items()}

    def moved(self, places: Mapping[str, int]) -> Cells:
        """Returns the cells with another index of names."""
        return Cells(places, self._values)
