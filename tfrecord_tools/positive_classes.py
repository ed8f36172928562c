"""Which classes of the labels of a build mean the disease: as --positive says, else as their names do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dr_edge.data import positive
from dr_edge.next_steps import quoted
from tfrecord_tools.items import DatasetError


def positive_classes(labels: Mapping[str, Sequence[str]], given: Sequence[str]) -> dict[str, list[str]]:
    """Returns label -> names of its classes that mean the disease; [] where neither `given` nor the names say it.

    Args:
      labels: label -> class names.
      given: class names, or "LABEL=NAME" where several labels have a class of that name.

    Raises:
      DatasetError: a name that no label has or that several have, or all classes of a label.
    """
    wanted: dict[str, list[str]] = {}
    for text in given:
        label, name = _place(labels, text)
        wanted.setdefault(label, []).append(name)
    found: dict[str, list[str]] = {}
    for label, names in labels.items():
        try:
            chosen = positive.indices(names, wanted[label]) if label in wanted else positive.guess(names, label)
        except ValueError as err:
            raise DatasetError(f"--positive, label {label!r}: {err}.") from err
        found[label] = [names[index] for index in chosen]
    return found


def disease_lines(labels: Mapping[str, Sequence[str]], found: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns a line for each label of which it is known: which classes are taken for the disease."""
    return [
        f"{label}: {positive.sentence(names, positive.indices(names, found[label]), label)}"
        for label, names in labels.items()
        if found[label]
    ]


def turned_round(labels: Mapping[str, Sequence[str]], found: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns a sentence for each label of which a class is called the disease whose name reads as healthy."""
    said = {
        label: positive.reversed_words(names, positive.indices(names, found[label]), label)
        for label, names in labels.items()
    }
    return [
        f"{label}: {text} --positive says so; it names the classes that mean the disease."
        for label, text in said.items()
        if text
    ]


def undecided(labels: Mapping[str, Sequence[str]], found: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns a sentence for each label of which nobody said which classes are the disease: how to say it."""
    return [
        f"{label}: the names {', '.join(names)} do not say which class is the disease. Build again with "
        f"--positive={quoted(f'{label}=NAME')} (the disease in place of NAME; several with commas between, {label}= "
        "before each), or train with --gin_param=\"tasks.label.positive = ('NAME',)\"; train refuses to guess."
        for label, names in labels.items()
        if not found[label] and len(names) > 1
    ]


def _place(labels: Mapping[str, Sequence[str]], text: str) -> tuple[str, str]:
    """Returns the label and the class that an entry of --positive names."""
    holders = [label for label, names in labels.items() if text in names]
    if len(holders) == 1:
        return holders[0], text
    label, equals, name = text.partition("=")
    if not holders and equals and label in labels and name in labels[label]:
        return label, name
    known = "; ".join(f"{label}: {', '.join(names)}" for label, names in labels.items())
    if holders:
        raise DatasetError(
            f"--positive={text}: the labels {', '.join(holders)} all have it. Write --positive={holders[0]}={text}."
        )
    raise DatasetError(f"--positive={text}: no class is called so. There are: {known}.")
