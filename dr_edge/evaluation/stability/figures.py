"""What rows of `measure` come to: of each perturbation the flips, |dp| and refusals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dr_edge.evaluation.operating_points import share_interval
from dr_edge.evaluation.stability.measure import Measured, Row
from dr_edge.perturbations.perturbation import Perturbation
from dr_edge.prediction.bundle import Bundle

PERCENTILE = 95


def figures(measured: Measured, bundle: Bundle) -> list[dict[str, Any]]:
    """Sums up each perturbation, in the order in which they were applied.

    Returns:
      One dict each: name, title, imitates; photographs (answered as they are), answered (also when changed), refused,
      refusals {reason: photographs}; flips, flip_share (of the answered; None where none is) and flip_interval (95 %,
      by patient); cautioned, the answered ones that say more about themselves than before ("part of the retina is
      covered"), and cautioned_flips among them; to_negative and to_positive, the flips at an operating point (None
      without one); median and percentile_95 of |dp| over the answered (None where none is).
    """
    decides = bundle.kind == "classification" and bundle.operating_point is not None and bool(bundle.positive)
    by_name: dict[str, list[Row]] = {each.name: [] for each in measured.perturbations}
    for row in measured.rows:
        by_name[row.perturbation].append(row)
    return [_figures(each, by_name[each.name], decides) for each in measured.perturbations]


def _figures(known: Perturbation, rows: Sequence[Row], decides: bool) -> dict[str, Any]:
    answered = np.array([row.after is not None for row in rows], bool)
    flipped = np.array([row.flipped for row in rows], bool)
    differences = [row.difference for row in rows if row.difference is not None]
    now_positive = sum(bool(row.after.decided[0]) for row in rows if row.after is not None and row.flipped)
    flips = int(flipped.sum())
    patients = np.array([row.patient for row in rows])
    return {
        "name": known.name,
        "title": known.title,
        "imitates": known.imitates,
        "photographs": len(rows),
        "answered": int(answered.sum()),
        "refused": int((~answered).sum()),
        "refusals": counted([row.reason or row.status for row in rows if row.after is None]),
        "cautioned": sum(row.cautioned for row in rows),
        "cautioned_flips": sum(row.cautioned and row.flipped for row in rows),
        "flips": flips,
        "flip_share": flips / int(answered.sum()) if answered.any() else None,
        "flip_interval": share_interval(flipped, answered, patients) if answered.any() else None,
        "to_negative": flips - now_positive if decides else None,
        "to_positive": now_positive if decides else None,
        "median": float(np.median(differences)) if differences else None,
        f"percentile_{PERCENTILE}": float(np.percentile(differences, PERCENTILE)) if differences else None,
    }


def worst(rows: Sequence[dict[str, Any]], count: int = 3) -> list[str]:
    """Returns the names of the perturbations that do most harm: the largest share of flips, then the largest |dp|.

    A refusal does no harm here: it says that nothing is known.
    """
    harm = [(row["flip_share"], row[f"percentile_{PERCENTILE}"], row["name"]) for row in rows if row["answered"]]
    return [name for *_, name in sorted(harm, key=lambda row: row[:2], reverse=True)[:count]]


def counted(reasons: Sequence[str]) -> dict[str, int]:
    """Returns reason -> how often, the most frequent first."""
    return dict(Counter(reasons).most_common())


def in_words(row: Mapping[str, Any]) -> str:
    """Returns "CLAHE: 7 of 38 answers flip (7 to negative), |Δp| 0.051 (median), 0.310 (95 %); 2 of 40 refused"."""
    said = f"{row['title']}: {row['flips']} of {row['answered']} answers flip"
    if row["to_negative"] is not None and row["flips"]:
        sides = [f"{row[f'to_{side}']} to {side}" for side in ("negative", "positive") if row[f"to_{side}"]]
        said += f" ({', '.join(sides)})"
    if row["median"] is not None:
        said += f", |Δp| {row['median']:.3f} (median), {row[f'percentile_{PERCENTILE}']:.3f} ({PERCENTILE}\u00a0%)"
    if row.get("cautioned"):
        said += f"; {row['cautioned']} answers say so (a caution), {row['cautioned_flips']} of these flip"
    return said + (f"; {row['refused']} of {row['photographs']} refused" if row["refused"] else "")


def sentence(content: Mapping[str, Any]) -> str:
    """Returns what `evaluate` prints of a stability section."""
    if "reason" in content:
        return f"Stability was not measured: {content['reason']}."
    by_name = {row["name"]: row for row in content["rows"]}
    what = "stored crops" if content["on_crops"] else "photographs"
    worst = "; ".join(in_words(by_name[name]) for name in content["worst"])
    return f"Stability on {content['photographs']} {what}, the worst of {len(by_name)} changes: {worst}."
