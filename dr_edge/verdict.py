"""Whether a model is better than guessing: the verdict that every evaluation, bundle, model card and answer carries.

`dr_edge.evaluation.verdict` measures it. Here are its closed set of words and how a bundle's is read; standard library
only, so that `predict` and the server need nothing more.

A verdict is a JSON object:
  status: one of STATUSES.
  title: the status in words, for example "Worse than guessing".
  text: title, numbers and baseline, in one or two sentences.
  caution: one sentence for whoever reads an answer; None where status is "better".
  baseline: "guessing" (answers) or "a constant answer" (masks).
  split, images, patients: what it was measured on; None where it was not.
  parts: one per question: {name, status, metric, value, baseline_value, interval, difference_interval, images,
    patients, text}.
  value, interval: of the part that decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

BETTER, NOT_TOLD, WORSE, NOT_EVALUATED, UNKNOWN = "better", "not_told", "worse", "not_evaluated", "unknown"
STATUSES = (WORSE, NOT_TOLD, NOT_EVALUATED, UNKNOWN, BETTER)  # of several parts the first of these decides
UNRELIABLE = (WORSE, NOT_TOLD)  # an answer must not be read as a fact
STATED = ("status", "title", "text", "baseline", "value", "interval", "split", "images", "patients")
GUESSING, CONSTANT = "guessing", "a constant answer"
_UNKNOWN_TEXT = (
    "Not known how good this model is: an earlier release, which did not measure it, wrote this. Evaluate or export it "
    "again."
)


def title(status: str, baseline: str = GUESSING) -> str:
    """Returns a status in words."""
    return {
        BETTER: f"Better than {baseline}",
        NOT_TOLD: f"Not told from {baseline}",
        WORSE: f"Worse than {baseline}",
        NOT_EVALUATED: "Not evaluated",
        UNKNOWN: "Not known how good",
    }[status]


def unmeasured(
    status: str, text: str, baseline: str = GUESSING, parts: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Returns the verdict on a model of which nothing is known on photographs that it has not seen.

    Args:
      status: NOT_EVALUATED or UNKNOWN.
      text: why.
      baseline: what it would be compared with.
      parts: what was measured on photographs that it has seen.
    """
    return {
        "status": status, "title": title(status, baseline), "text": text, "caution": text, "baseline": baseline,
        "value": None, "interval": None, "split": None, "images": None, "patients": None,
        "parts": [dict(part) for part in parts],
    }  # fmt: skip


def of_bundle(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the verdict in a metadata.json (or metrics.json); "unknown" where it states none that is known here."""
    stated = manifest.get("verdict")
    if not isinstance(stated, Mapping) or stated.get("status") not in STATUSES:
        return unmeasured(UNKNOWN, _UNKNOWN_TEXT)
    words = ("title", "text") if stated["status"] == BETTER else ("title", "text", "caution")
    return stated if all(isinstance(stated.get(key), str) for key in words) else unmeasured(UNKNOWN, _UNKNOWN_TEXT)


def stated(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a document of answers says of it: without the parts."""
    return {key: verdict.get(key) for key in STATED}


def with_caution(verdict: Mapping[str, Any], message: str) -> str:
    """Returns an answer's message; of a model that was not told from guessing it starts with saying so."""
    return f"{verdict['caution']} {message}" if verdict["status"] in UNRELIABLE else message


def with_title(verdict: Mapping[str, Any], headline: str) -> str:
    """Returns the few words of an answer, with the verdict before them where they must not be read as a fact."""
    return f"{verdict['title']}: {headline}" if verdict["status"] in UNRELIABLE else headline
