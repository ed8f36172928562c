"""What a build tells at its end: photographs per class and split, patients, copies, rejections, what to do next."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dr_edge.data.records import MISSING_LABEL, SPLITS
from dr_edge.next_steps import quoted
from tfrecord_tools.copies import SHOWN_NAMES
from tfrecord_tools.positive_classes import disease_lines, turned_round, undecided

TOP_REASONS = 5
# What differs between two photographs that are rejected for one reason: quoted names, paths, numbers.
_PARTICULARS = re.compile(
    r"(?<=duplicate of )\S+(?:, \S+)*|(?<=belongs with )\S+|'[^']*'"
    r"|\"[^\"]*\"|\S*[/\\]\S*|\S+\.[A-Za-z]\w{1,4}\b|\d+(?:\.\d+)?"
)
GIN_FILES = {
    "synthetic": "demo.gin", "idrid": "idrid_referable.gin", "eyepacs": "eyepacs_referable.gin",
    "drishti": "system_c.gin", "messidor": "system_a_messidor_small.gin", "refuge": "system_c.gin",
}  # fmt: skip


def summary(out: Path, manifest: Mapping[str, Any], rejected: Sequence[tuple[str, str]]) -> str:
    """Returns what is printed at the end of a build.

    Args:
      out: directory of the records.
      manifest: content of dataset.json.
      rejected: rows of rejected.csv.
    """
    lines = [f"{'split':<6} {'images':>7} {'patients':>8} {'shards':>6}  classes"]
    for split, content in manifest["splits"].items():
        shards = len(content["shards"])
        lines.append(
            f"{split:<6} {content['examples']:>7} {content['patients']:>8} {shards:>6}  {_contents(manifest, content)}"
        )
    lines += disease_lines(manifest["labels"], manifest["positive"])
    lines += [manifest["patients"]] if manifest["patients"] else []
    lines += _copies(manifest["copies"])
    lines.append(f"{len(rejected)} rejected (rejected.csv says why). Written to {out}")
    lines += top_reasons(rejected)
    lines += [f"note: {text}" for text in manifest["notes"]]
    lines += [f"caution: {text}" for text in cautions(manifest)]
    turned = turned_round(manifest["labels"], manifest["positive"])
    lines += [f"CAUTION: {text}" for text in turned]
    # The caution is the last line, and nothing to copy stands below it.
    command = "" if turned else next_command(out, manifest)
    return "\n".join([*lines, f"next: {command}"] if command else lines)


def _contents(manifest: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """Returns "class: healthy 12, sick 9; masks: optic_disc 21" of one split."""
    parts = []
    for label, counts in content["classes"].items():
        names = manifest["labels"][label]
        found = [f"{name} {counts.get(str(index), 0)}" for index, name in enumerate(names)]
        missing = counts.get(str(MISSING_LABEL), 0)
        parts.append(f"{label}: {', '.join([*found, f'missing {missing}'] if missing else found)}")
    if content["masks"]:
        empty = {name: f" ({count} empty)" if count else "" for name, count in content["empty_masks"].items()}
        parts.append("masks: " + ", ".join(f"{name} {count}{empty[name]}" for name, count in content["masks"].items()))
    return "; ".join(parts)


def _copies(copies: Mapping[str, Any]) -> list[str]:
    if not copies or copies["files"] == copies["photographs"]:
        return []
    aside = copies["exact"]["set_aside"] + copies["near"]["set_aside"]
    names = ", ".join(copies["largest"]["images"][:SHOWN_NAMES])
    return [
        f"Copies: {copies['files']} files show {copies['photographs']} photographs; copies stay in one split or are set"
        f" aside ({aside}); the largest group has {copies['largest']['files']} ({names})."
    ]


def top_reasons(rejected: Iterable[tuple[str, str]]) -> list[str]:
    """Returns the most frequent reasons, one line each: how often, and one file as an example."""
    counts: Counter[str] = Counter()
    first: dict[str, tuple[str, str]] = {}
    for file, reason in rejected:
        kind = _PARTICULARS.sub("~", reason)
        counts[kind] += 1
        first.setdefault(kind, (file, reason))
    lines = []
    for kind, count in counts.most_common(TOP_REASONS):
        file, reason = first[kind]
        lines.append(f"  {count} x {reason}" + (f" ({file})" if file not in reason else ""))
    rest = counts.total() - sum(count for _, count in counts.most_common(TOP_REASONS))
    return [*lines, f"  {rest} for other reasons"] if rest else lines


def cautions(manifest: Mapping[str, Any]) -> list[str]:
    """Returns a sentence for each class without a photograph in a split, and for each empty split."""
    splits = manifest["splits"]
    said = undecided(manifest["labels"], manifest["positive"])
    needs = {"val": "train chooses the best epoch and the thresholds by it", "test": "evaluate has nothing to judge by"}
    for split in SPLITS:
        if splits[split]["examples"] == 0:
            said.append(f"{split} is empty: {needs.get(split, 'nothing can be trained')}. {_more(manifest, split)}")
    for name in manifest["masks"]:
        held, empty = (sum(splits[split][kind][name] for split in SPLITS) for kind in ("masks", "empty_masks"))
        if held == 0:
            said.append(f"no photograph has a mask of {name}.")
        elif empty == held:
            said.append(
                f"every mask of {name} is empty: nothing of it can be learned. Are its files and --mask_values right?"
            )
    for label, names in manifest["labels"].items():
        totals = {s: [splits[s]["classes"][label].get(str(i), 0) for i in range(len(names))] for s in SPLITS}
        groups: dict[tuple[str, ...], list[str]] = {}
        for index, name in enumerate(names):
            counts = {split: totals[split][index] for split in SPLITS}
            where = ", ".join(f"{count} in {split}" for split, count in counts.items() if count) or "none at all"
            lacking = tuple(split for split in SPLITS if not counts[split] and splits[split]["examples"])
            groups.setdefault(("train",) if "train" in lacking else lacking, []).append(f"{name!r} ({where})")
        for lacking, shown in groups.items():
            if lacking == ("train",):
                said.append(
                    f"{label}: no training photograph of {', '.join(shown)}: train refuses a task in which that is a "
                    "class. Add photographs, or lower --val_fraction and --test_fraction where other splits hold "
                    "some."
                )
            elif lacking:
                said.append(f"{label}: no {', '.join(shown)} in {' and '.join(lacking)}: it cannot be judged there.")
    return said


def _more(manifest: Mapping[str, Any], split: str) -> str:
    share = manifest["arguments"].get(f"{split}_fraction")
    if share == 0:
        return f"--{split}_fraction was 0." if split != "train" else "Add photographs."
    return f"Build from more photographs{f', or with a larger --{split}_fraction' if split != 'train' else ''}."


def next_command(out: Path, manifest: Mapping[str, Any]) -> str:
    """Returns the command that trains on the records; "" where it depends on what is wanted."""
    labels, masks = manifest["labels"], manifest["masks"]
    gin_file, binding = GIN_FILES.get(manifest["dataset"], ""), ""
    if "dr_grade" in labels and not gin_file:
        grades = manifest["splits"]["train"]["classes"]["dr_grade"]
        held = [sum(grades.get(str(grade), 0) for grade in side) for side in ((0, 1), (2, 3, 4))]
        gin_file = "idrid_referable.gin" if all(held) else ""  # train refuses one answer alone
    elif {"optic_disc", "optic_cup"} <= set(masks) and not gin_file:
        gin_file = "system_c.gin"
    elif labels and not gin_file:
        name = next(iter(labels))
        gin_file = "folder.gin"
        binding = "" if name == "class" else f" --gin_param={quoted(f'tasks.label.name = {name!r}')}"
        held = manifest["splits"]["train"]["classes"][name]
        if not manifest["positive"][name] or not all(held.get(str(index)) for index in range(len(labels[name]))):
            return ""  # training would only ask, or refuse a class that it cannot learn
    if not gin_file:
        return ""
    return (
        f"python -m dr_edge.train --gin_file=gin_configs/{gin_file}{binding} --records={shlex.quote(str(out))} "
        f"--run_dir={shlex.quote(f'runs/{out.name}')}"
    )
