"""Drawn fundus images: the embedded default, with exact masks and centres; no download.

Each "patient" is a pair of eyes, drawn from two seeds of its own.
"""

from __future__ import annotations

from dr_edge.data.tasks import GRADE_NAMES
from tfrecord_tools.items import Item, Listing, Request
from tfrecord_tools.sources import SOURCES

DEFAULT_COUNT = 1200
SEEDS = 1_000_000  # each --seed has that many images of its own
MASKS = (
    "optic_disc", "optic_cup", "microaneurysms", "haemorrhages", "hard_exudates", "cotton_wool_spots",
    "neovascularisation",
)  # fmt: skip


def listing(request: Request) -> Listing:
    """Declares `limit` (1200) images; seeds follow from --seed, so another seed shares no image."""
    count = DEFAULT_COUNT if request.limit is None else request.limit
    if not 1 <= count <= SEEDS:
        raise ValueError(f"--limit of drawn images must be 1..{SEEDS}. Received: {count}.")
    first = request.seed * SEEDS
    items = [
        Item(
            image_id=f"drawn-{first + index:09d}",
            path="",
            patient=f"drawn-patient-{(first + index) // 2:09d}",
            seed=first + index,
        )
        for index in range(count)
    ]
    return Listing(
        labels={"dr_grade": GRADE_NAMES, "glaucoma": ("no glaucoma", "glaucoma")},
        masks=MASKS,
        centres=("optic_disc", "fovea"),
        items=items,
        stratify=("dr_grade", "glaucoma"),
        source=SOURCES["synthetic"].stated(),
    )
