"""Overlays of real photographs, and what is left out of them: what a drawn image cannot show."""

from __future__ import annotations


def test_explain_reads_real_photographs_and_lists_the_rest(real_data, write_run, make_model, tmp_path):
    from dr_edge.data import tasks
    from dr_edge.explanation import flow

    run = write_run(tmp_path / "run", tasks.referable_dr(), make_model(2))
    done = flow.explain(run, str(real_data / "odd" / "*.*"), ["gradcam"], tmp_path / "maps")
    page = (tmp_path / "maps" / "index.html").read_text()
    left_out = page[page.index("Left out") :]
    for name in (
        "empty.jpeg",
        "truncated.jpeg",
        "truncated.dcm",
        "oct_1.jpg",
        "vessel_mask.png",
        "black_1.jpeg",
    ):
        assert name in left_out
    for name in ("hrf_wide.jpg", "drive_565x584.png", "cmyk.jpg", "png16.png", "filmstrip_1.png"):
        assert name not in left_out
    assert done["images"] >= 15 and done["images"] + done["rejected"] == len(list((real_data / "odd").glob("*.*")))
