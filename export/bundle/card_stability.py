"""The stability section of a model card: the changes of a photograph that move the run's answers most."""

from __future__ import annotations

from dr_edge.data.known_patients import counted
from dr_edge.evaluation.stability import figures
from dr_edge.markdown import escaped
from dr_edge.runs import TrainedRun, evaluation_of


def lines(run: TrainedRun) -> list[str]:
    """Returns the lines: the worst three changes, as the run's evaluation of its test split measured them, or why none.

    They are of the trained network in Keras, before it was converted.
    """
    evaluated = evaluation_of(run)
    if evaluated is None or "stability" not in evaluated:
        return [
            "- Not measured: what its answers do when a photograph is stored, framed or lit otherwise is not known. "
            "`dr-edge evaluate` of the run measures it; export again afterwards."
        ]
    found = evaluated["stability"]
    if "reason" in found:
        return [f"- Not measured: {escaped(found['reason'])}."]
    rows = {row["name"]: row for row in found["rows"]}
    crops = " (stored crops, not the files)" if found["on_crops"] else ""
    asked = counted(found["photographs"], found["patients"], "test photographs")
    return [
        f"{asked}{crops} were asked about as they are and again after each of {len(rows)} changes that leave the eye "
        f"as it is. {escaped(found['meaning'])} The worst:",
        "",
        *(f"- {escaped(figures.in_words(rows[name]))}. {escaped(rows[name]['imitates'])}" for name in found["worst"]),
    ]
