"""The plots on top of a contact sheet: class balance, copies, sizes of the photographs, quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LETTERS = (
    0.12  # of the names below a plot's bars, side by side, that have room in a pixel of the plot's share of the width
)
SPLIT_COLOURS = {"train": "#4cc9f0", "val": "#f9c74f", "test": "#f94144"}


def draw_plots(
    manifest: Mapping[str, Any],
    sizes: Mapping[str, Sequence[tuple[int, int]]],
    quality: Mapping[str, Sequence[float]],
    width: int,
) -> np.ndarray:
    """Draws a strip of plots, [300, width, 3] uint8 RGB.

    Args:
      manifest: of the records.
      sizes: split -> (width, height) of each source photograph, pixels.
      quality: split -> score of each example, 0..1.
      width: pixels.
    """
    from matplotlib import pyplot
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    labels = list(manifest["labels"])
    with pyplot.style.context("dark_background"):
        copies = manifest.get("copies")  # records of an older builder do not say
        title = (
            f"{manifest['dataset']}, {manifest['image_size']} px, {manifest['preprocess']['method']}, "
            f"{manifest['rejected']} rejected"
        )
        if copies and copies["files"] == copies["photographs"]:
            title, copies = f"{title}, no copies among {copies['files']} files", None
        count = len(labels) + (3 if copies else 2)
        figure, axes = pyplot.subplots(1, count, figsize=(width / 100, 3.0), dpi=100, squeeze=False)
        for axis, name in zip(axes[0], labels, strict=False):
            _balance(axis, manifest, name, LETTERS * width / count)
        if copies:
            _copies(axes[0][-3], copies)
        _sizes(axes[0][-2], sizes)
        _quality(axes[0][-1], quality)
        figure.suptitle(title, fontsize=10)
        figure.tight_layout()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        strip = np.asarray(canvas.buffer_rgba())[..., :3].copy()
        pyplot.close(figure)
    return strip


def _balance(axis: Any, manifest: Mapping[str, Any], name: str, letters: float) -> None:
    """Draws the images of each class by split; their names are turned where they have more than `letters`."""
    values = sorted({int(key) for content in manifest["splits"].values() for key in content["classes"][name]})
    bottom = np.zeros(len(values))
    for split, content in manifest["splits"].items():
        counts = np.asarray([content["classes"][name].get(str(value), 0) for value in values])
        axis.bar(range(len(values)), counts, bottom=bottom, color=SPLIT_COLOURS[split], label=split)
        bottom += counts
    named = manifest["labels"][name]
    words = ["missing" if value < 0 else str(named[value]).replace("_", " ") for value in values]
    steep = sum(map(len, words)) > letters  # side by side they would run into each other
    axis.set_xticks(
        range(len(values)), words, **({"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if steep else {})
    )
    for place, total in enumerate(bottom):
        axis.text(place, total, f"{total:.0f}", ha="center", va="bottom", fontsize=7)
    axis.set_title(name.replace("_", " "), fontsize=9)
    axis.margins(y=0.15)
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7, frameon=False)


def _copies(axis: Any, copies: Mapping[str, Any]) -> None:
    sizes = copies["sizes"]
    axis.bar(range(len(sizes)), list(sizes.values()), color="#b388eb")
    axis.set_xticks(range(len(sizes)), list(sizes))
    for place, count in enumerate(sizes.values()):
        axis.text(place, count, f"{count}", ha="center", va="bottom", fontsize=7)
    axis.set_title(f"{copies['files']} files, {copies['photographs']} photographs", fontsize=9)
    axis.set_xlabel("files of one photograph", fontsize=7)
    axis.set_yscale("log")  # one photograph of many files would not show beside thousands of one
    axis.margins(y=0.2)
    axis.tick_params(labelsize=7)


def _sizes(axis: Any, sizes: Mapping[str, Sequence[tuple[int, int]]]) -> None:
    for split, pairs in sizes.items():
        points, counts = np.unique(np.asarray(pairs), axis=0, return_counts=True)
        axis.scatter(
            points[:, 0],
            points[:, 1],
            s=8 + 3 * np.sqrt(counts),
            color=SPLIT_COLOURS[split],
            alpha=0.6,
            label=split,
        )
    axis.set_title("photograph size", fontsize=9)
    axis.set_xlabel("width, px", fontsize=7)
    axis.set_ylabel("height, px", fontsize=7)
    corner = np.max([np.max(pairs, axis=0) for pairs in sizes.values()], axis=0)
    axis.set_xlim(0, 1.1 * corner[0])
    axis.set_ylim(0, 1.1 * corner[1])
    axis.tick_params(labelsize=7)


def _quality(axis: Any, quality: Mapping[str, Sequence[float]]) -> None:
    names = list(quality)
    axis.hist(
        [quality[name] for name in names],
        bins=20,
        range=(0, 1),
        stacked=True,
        color=[SPLIT_COLOURS[n] for n in names],
    )
    axis.set_title("quality", fontsize=9)
    axis.tick_params(labelsize=7)
