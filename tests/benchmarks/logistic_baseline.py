"""What a logistic regression on a frozen backbone reaches on the same records, and how far trained runs are above it.

    python tests/benchmarks/logistic_baseline.py WEIGHTS RUN [RUN ...]

WEIGHTS: a no-top weights file of keras.applications' MobileNetV2. RUN: finished and evaluated runs of a task of two
classes on the same records (seeds of one configuration). Features are the global average of the last map at the
records' size; the regression's strength is chosen on validation among 1e-4 .. 1e-1, the test split is judged once. The
difference to each run is paired: the same bootstrap draws of whole patients for both.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)


def features(
    records: str, task: object, size: int, weights: str
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns for each split the features [N, 1280], labels [N] and ids [N]."""
    import keras

    from dr_edge.data import pipeline

    backbone = keras.applications.MobileNetV2(
        include_top=False, weights=weights, input_shape=(size, size, 3), pooling="avg"
    )
    found = {}
    for split in ("train", "val", "test"):
        values, labels, ids = [], [], []
        for batch in pipeline.evaluation_batches(records, split, task, 16):
            values.append(backbone.predict_on_batch(batch["image"].numpy() / 127.5 - 1))
            labels.append(batch["label"].numpy())
            ids += [name.decode() for name in batch["id"].numpy()]
        found[split] = np.concatenate(values), np.rint(np.concatenate(labels)).astype(int), np.array(ids)
    return found


def fitted_scores(found: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[float, np.ndarray]:
    """Returns the strength that validation chose, and the scores of the test images [N]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    models = {}
    for strength in STRENGTHS:
        regression = LogisticRegression(C=strength, max_iter=3000, class_weight="balanced")
        models[strength] = make_pipeline(StandardScaler(), regression).fit(*found["train"][:2])
    val = {
        each: roc_auc_score(found["val"][1], model.decision_function(found["val"][0])) for each, model in models.items()
    }
    best = max(val, key=val.__getitem__)
    return best, models[best].decision_function(found["test"][0])


def main(weights: str, *runs: str) -> None:
    """Prints the baseline and each run's paired difference."""
    from dr_edge.evaluation import paired, predictions
    from dr_edge.metrics import bootstrap
    from dr_edge.runs import load_run

    first = load_run(runs[0])
    found = features(first.records, first.task, first.image_size, weights)
    strength, scores = fitted_scores(found)
    _, labels, ids = found["test"]
    place = {name: index for index, name in enumerate(ids)}
    print(f"logistic regression, C = {strength:g}, n = {[len(found[split][1]) for split in found]}")
    for run in runs:
        table = predictions.from_csv(Path(run) / "evaluation" / "test", first.task)
        order = np.array([place[str(name)] for name in table.ids])
        np.testing.assert_array_equal(labels[order], table.labels)
        positive = table.labels == 1
        pair = paired.Pair(
            bootstrap.weighted_auc(positive, scores[order]),
            bootstrap.weighted_auc(positive, table.probabilities[:, 1]),
        )
        row = paired.differences({"auc": pair}, table.patients, bootstrap.DRAWS)["auc"]
        low, high = row["interval"]
        print(
            f"{run}: AUC {row['a']:.3f} -> {row['b']:.3f}, difference {row['difference']:+.3f} ({low:+.3f} to "
            f"{high:+.3f})",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
