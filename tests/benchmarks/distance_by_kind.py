"""How far out a run's distance puts pictures that are no fundus photographs: docs/results.md's table "What is no fundus
photograph".

    python tests/benchmarks/distance_by_kind.py ODD RUN [RECORDS ...]

ODD: a directory of such pictures, named as tests/real/odd_pictures.py says. RUN: a finished run. RECORDS: whose test
split the pictures are held against; by default those of the run. For each kind: AUROC of the distance alone, and with
the check of the field of view before it, as `predict` asks. Then how many are caught at the stored threshold, and how
many photographs are.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "real"))
FAR = 1e6  # what shows no field of view is farther than any distance
BATCH = 8


def main(odd: str, run_dir: str, *judged: str) -> None:
    """Prints one table row per kind."""
    from odd_pictures import LIKE_FUNDUS, area, seen, strange_pictures

    from dr_edge import runs
    from dr_edge.calibration import fit as fit_lib
    from dr_edge.calibration import statistics, store

    run = runs.load_run(run_dir)
    fit = store.fit_of(run, run.records)
    if fit.features is None:
        sys.exit(f"{run_dir} has no distance: {fit.ood['reason']}")
    predict, threshold = fit_lib.predictor(run), fit.ood["threshold"]

    def distances(images: list[np.ndarray]) -> np.ndarray:
        parts = [predict(np.stack(images[start : start + BATCH]))[1] for start in range(0, len(images), BATCH)]
        return statistics.mahalanobis_distance(np.concatenate(parts), fit.features)

    near = {}
    for records in judged or (run.records,):
        found = fit_lib.examples(records, "test", run.task, None, f"photographs of {records}")
        near[records] = distances([example["image"] for example in found])
    kinds: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for kind, pictures in strange_pictures(Path(odd), run.image_size).items():
        images, refused = zip(*(seen(each, run.image_size, run.preprocess["method"]) for each in pictures), strict=True)
        kinds[kind] = distances(list(images)), np.array(refused)
    far = [kinds[kind] for kind in kinds if kind not in LIKE_FUNDUS]
    kinds["all but generated"] = tuple(np.concatenate(part) for part in zip(*far, strict=True))
    print(
        "| kind (pictures) | "
        + " | ".join(f"against {name} ({len(values)})" for name, values in near.items())
        + " | caught |"
    )
    for kind, (values, refused) in kinds.items():
        together = np.where(refused, FAR, values)
        areas = " | ".join(f"{area(each, values):.3f}, {area(each, together):.3f}" for each in near.values())
        print(f"| {kind} ({len(values)}) | {areas} | {(values > threshold).sum()}, {(together > threshold).sum()} |")
    for name, values in near.items():
        print(
            f"{name}: {100 * (values > threshold).mean():.1f} % of {len(values)} photographs lie beyond the threshold"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
