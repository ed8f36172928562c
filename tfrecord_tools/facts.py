"""What the split, the tables and the manifest need of each image, and how a million of them fit into memory."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import overload

from dr_edge.data.records import SPLITS
from dr_edge.fundus.appearance import COLOUR

PIXELS_BYTES = 32  # of a SHA-256


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
    """What is known of one image, whose record waits in the spool.

    Attributes:
      reason: why it was rejected; "" where taken, and then the rest is filled.
      split: the official split or None.
      pixels, kind, enlarged, files: see `process.Outcome`.
      chunk, offset, length: where its TFRecord frame stands.
    """

    image_id: str
    path: str
    reason: str = ""
    patient: str = ""
    split: str | None = None
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    masks: Sequence[str] = ()
    empty_masks: Sequence[str] = ()
    sha256: str = ""
    pixels: str = ""
    quality: float = 0.0
    kind: str = COLOUR
    enlarged: bool = False
    source_size: Sequence[int] = (0, 0)
    chunk: int = 0
    offset: int = 0
    length: int = 0
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)


class FactTable(Sequence[Fact]):
    """The facts of all items as far as the split needs them, in columns: some 130 bytes each.

    The facts that it gives hold id, reason, patient, split, labels, pixels and the place of the frame; the rest is at
    its default. All of a fact stands in the spool (`spool.each_fact`).
    """

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self._ids, self._patients = _Texts(), _Texts()
        self._reasons: dict[int, str] = {}
        self._splits = array("b")  # place in _SPLITS
        self._labels = array("L")  # place in _kinds
        self._kinds: list[Mapping[str, int]] = []
        self._places: dict[tuple[tuple[str, int], ...], int] = {}
        self._pixels = bytearray()
        self._frames = array("q")  # chunk, offset, length of each
        for fact in facts:
            self.append(fact)

    def append(self, fact: Fact) -> None:
        """Adds the fact of the next item."""
        if fact.reason:
            self._reasons[len(self)] = fact.reason
        self._ids.append(fact.image_id)
        self._patients.append(fact.patient)
        self._splits.append(_SPLITS.index(fact.split))
        labels = tuple(fact.labels.items())
        if labels not in self._places:
            self._places[labels] = len(self._kinds)
            self._kinds.append(dict(labels))
        self._labels.append(self._places[labels])
        self._pixels += bytes.fromhex(fact.pixels) or bytes(PIXELS_BYTES)
        self._frames.extend((fact.chunk, fact.offset, fact.length))

    def __len__(self) -> int:
        return len(self._splits)

    @overload
    def __getitem__(self, index: int) -> Fact: ...
    @overload
    def __getitem__(self, index: slice) -> list[Fact]: ...
    def __getitem__(self, index: int | slice) -> Fact | list[Fact]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        chunk, offset, length = self._frames[3 * index : 3 * index + 3]
        reason = self._reasons.get(index, "")
        return Fact(
            image_id=self._ids[index],
            path="",
            reason=reason,
            patient=self._patients[index],
            split=_SPLITS[self._splits[index]],
            labels=self._kinds[self._labels[index]],
            pixels="" if reason else self._pixels[PIXELS_BYTES * index : PIXELS_BYTES * (index + 1)].hex(),
            chunk=chunk,
            offset=offset,
            length=length,
        )

    def __iter__(self) -> Iterator[Fact]:
        return (self[index] for index in range(len(self)))


_SPLITS: tuple[str | None, ...] = (None, *SPLITS)


class _Texts:
    """Texts in one piece of memory, as UTF-8."""

    def __init__(self) -> None:
        self._data, self._ends = bytearray(), array("q")

    def append(self, text: str) -> None:
        self._data += text.encode("utf-8", "surrogateescape")
        self._ends.append(len(self._data))

    def __getitem__(self, index: int) -> str:
        start = self._ends[index - 1] if index else 0
        return self._data[start : self._ends[index]].decode("utf-8", "surrogateescape")
