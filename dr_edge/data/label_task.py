"""A classification whose classes are the values of a label: it becomes a Task when records say what they are called."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from dr_edge.data import positive as positive_lib
from dr_edge.data.task import Task


@dataclasses.dataclass(frozen=True)
class LabelTask:
    """A classification whose classes are the values of one label, as the records name them; see `label`."""

    name: str
    class_names: tuple[str, ...] | None = None
    positive: tuple[str, ...] | None = None
    rename: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def resolve(self, names: Sequence[str], stated: Sequence[str] = ()) -> Task:
        """Returns the task for records whose label holds the classes `names`.

        Args:
          names: of the label's values, in their order.
          stated: those of them that the records state to be the disease; () where they state none.

        Raises:
          ValueError: a name that is none of theirs, or nobody says which classes are the disease; says what to add.
        """
        names = tuple(names)
        self._check_names(names)
        shown = tuple(self.rename.get(name, name) for name in names)
        if len(set(shown)) < len(shown):
            raise ValueError(
                f"tasks.label.rename gives two classes one name: {list(names)} would be called {list(shown)}."
            )
        positive = self._positive(names, shown, stated)
        return Task(self.name, "classification", shown, labels=(self.name,), positive=positive, record_names=names)

    def _check_names(self, names: tuple[str, ...]) -> None:
        given = names if self.class_names is None else self.class_names
        unknown = [name for name in given if name not in names] + [name for name in self.rename if name not in names]
        if unknown:
            new = {names[0]: "its new name"}
            raise ValueError(
                f"The label {self.name!r} holds the classes {list(names)}, and no {', '.join(map(repr, unknown))}. "
                "Leave out tasks.label.class_names: the names come from the records. To call them otherwise, say which "
                f'is which: --gin_param="tasks.label.rename = {new!r}"'
            )
        if sorted(given) == sorted(names) and given != names:
            raise ValueError(
                f"tasks.label.class_names = {list(given)}, but the records hold them in the order {list(names)}: each "
                "would be called by another's name. Leave tasks.label.class_names out."
            )
        if given != names:
            left = [name for name in names if name not in given]
            raise ValueError(
                f"tasks.label.class_names = {list(given)} leaves out {left} of the label {self.name!r}. Leave it out: "
                "the names come from the records. To train without a class, build records without its photographs."
            )

    def _positive(self, names: tuple[str, ...], shown: tuple[str, ...], stated: Sequence[str]) -> tuple[int, ...]:
        if self.positive is not None:
            wanted = [names[shown.index(name)] if name in shown else name for name in self.positive]
            try:
                return positive_lib.indices(names, wanted)
            except ValueError as err:
                raise ValueError(f"tasks.label.positive = {self.positive!r}: {err}.") from err
        if stated:
            return positive_lib.indices(names, stated)
        read = {
            found for found in (positive_lib.guess(names, self.name), positive_lib.guess(shown, self.name)) if found
        }
        if len(read) == 1:
            return read.pop()
        flag = "tasks.label.positive = "
        raise ValueError(
            f"Which class is the disease? The label {self.name!r} holds {', '.join(map(repr, shown))}, and the names do"
            " not say it safely. Name the class, or the classes, for example "
            f'--gin_param="{flag}({shown[0]!r},)"; where no class is a disease: --gin_param="{flag}()". It decides '
            "which eyes are referred."
        )
