"""What the split, the tables and the manifest need of each image, of which a million would fill the memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from dr_edge.fundus.appearance import COLOUR
from tfrecord_tools.on_disk import DiskList


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
    """The facts of all items as far as the split needs them, on the disk.

    The facts that it gives hold id, reason, patient, split, labels, pixels and the place of the frame; the rest is at
    its default. All of a fact stands in the spool (`spool.each_fact`).
    """

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self._kinds: list[Mapping[str, int]] = []  # of labels
        self._places: dict[tuple[tuple[str, int], ...], int] = {}
        self._kept: DiskList[tuple[Any, ...]] = DiskList(map(self._slim, facts))

    def _slim(self, fact: Fact) -> tuple[Any, ...]:
        labels = tuple(fact.labels.items())
        if labels not in self._places:
            self._places[labels] = len(self._kinds)
            self._kinds.append(dict(labels))
        pixels = bytes.fromhex(fact.pixels)
        place = fact.chunk, fact.offset, fact.length
        return fact.image_id, fact.reason, fact.patient, fact.split, self._places[labels], pixels, *place

    def _fact(self, kept: tuple[Any, ...]) -> Fact:
        image_id, reason, patient, split, labels, pixels, chunk, offset, length = kept
        return Fact(
            image_id=image_id, path="", reason=reason, patient=patient, split=split, labels=self._kinds[labels],
            pixels=pixels.hex(), chunk=chunk, offset=offset, length=length,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> Fact: ...
    @overload
    def __getitem__(self, index: slice) -> list[Fact]: ...
    def __getitem__(self, index: int | slice) -> Fact | list[Fact]:
        if isinstance(index, slice):
            return [self._fact(kept) for kept in self._kept[index]]
        return self._fact(self._kept[index])

    def __iter__(self) -> Iterator[Fact]:
        return map(self._fact, self._kept)
