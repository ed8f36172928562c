"""The charts of the parity page: labels beside the bars, nothing over anything."""

from __future__ import annotations

import re

from PIL import ImageFont

from dr_edge.drawing import svg_forest

LONG = "expanded_conv_10_squeeze_excite_conv_1_of_a_deep_network"


def test_no_bar_lies_over_a_name():
    names = ["Mean", "expanded_conv_project_BN", "block_16_depthwise_relu", LONG]
    svg = str(svg_forest.bars([(name, 40.0 - 5 * index) for index, name in enumerate(names)], "dB"))
    starts = [float(x) for x in re.findall(r'<rect x="([\d.]+)"', svg)]
    widths = [float(x) for x in re.findall(r'<rect [^>]*width="([\d.]+)"', svg)]
    labels = re.findall(r'<text class="axis" x="0.0"[^>]*>(?:<title>.*?</title>)?([^<]+)</text>', svg)
    font = ImageFont.load_default(12.5)
    assert len(starts) == len(labels) == 4
    for start, width, label in zip(starts, widths, labels, strict=True):
        assert font.getlength(label) < start and width > 40 and start + width < svg_forest.WIDTH - 30
    assert labels[1] == names[1] and f"<title>{LONG}</title>" in svg and labels[3].endswith("of_a_deep_network")


def test_short_names_leave_room_for_the_bars():
    few, many = (str(svg_forest.bars([(name, 1.0)], "dB")) for name in ("conv", "a_longer_name_of_a_layer"))
    width = [float(re.search(r'<rect [^>]*width="([\d.]+)"', svg)[1]) for svg in (few, many)]
    assert width[0] > width[1] > 100
