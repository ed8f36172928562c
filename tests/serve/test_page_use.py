"""How the page is used: on a phone and a desk, light and dark, by keyboard and read aloud, with slider and label."""

from __future__ import annotations

import json

import numpy as np
import pytest
from page_actions import SHOWN, grade, opened, show_heat
from page_browser import Tab

pytestmark = pytest.mark.usefixtures("vendored")


@pytest.mark.parametrize(("width", "height", "touch"), [(390, 844, True), (1280, 800, False)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_hangs_over_the_edge(server, browser, synthetic, width, height, touch, scheme) -> None:
    with opened(browser, server.url, width=width, height=height, scheme=scheme, touch=touch) as tab:
        chosen = [file for file in synthetic if file.name in ("severe.png", "blurred.png", "letter.png")]
        grade(tab, *chosen)
        tab.wait(SHOWN)
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")
        too_wide = """[...document.querySelectorAll('body *')]
          .filter((e) => e.getClientRects().length && !e.closest('.list, .unseen, .skip')
            && (e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1))
          .map((e) => e.outerHTML.slice(0, 80))"""
        assert tab.run(too_wide) == []
        assert min(contrasts(tab)) >= 4.5
        assert "Not a medical device" in tab.run("document.querySelector('footer').innerText")


def contrasts(tab: Tab) -> list[float]:
    """Returns the contrast ratio (WCAG 2.2) of every piece of text that is seen against what lies behind it."""
    return tab.run("""(() => {
      const parse = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
      const luminance = ([r, g, b]) => [r, g, b]
        .map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const behind = (element) => {
        for (let e = element; e; e = e.parentElement) {
          const colour = parse(getComputedStyle(e).backgroundColor);
          if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
      };
      const found = [];
      const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      while (walk.nextNode()) {
        const element = walk.currentNode.parentElement;
        if (!walk.currentNode.textContent.trim() || !element.checkVisibility()) continue;
        if (element.closest('.unseen, .skip, noscript, option')) continue;
        const both = [luminance(parse(getComputedStyle(element).color)), luminance(behind(element))];
        const [high, low] = both.sort((a, b) => b - a);
        found.push((high + 0.05) / (low + 0.05));
      }
      return found;
    })()""")


def test_it_is_used_by_keyboard_and_read_aloud(server, browser, synthetic) -> None:
    with opened(browser, server.url) as tab:
        grade(tab, synthetic[0], synthetic[1])
        tab.wait(SHOWN)
        assert tab.run("document.getElementById('spoken').getAttribute('aria-live')") == "polite"
        assert tab.run("document.getElementById('spoken').textContent").startswith(synthetic[1].name)
        reached = []
        tab.run("document.body.focus()")
        for _ in range(12):
            tab.press("Tab", 9)
            reached.append(
                tab.run(
                    "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
                )
            )
        assert {"choose", "take", "save", "clear", "item", "label"} <= set(reached)
        tab.run("document.querySelectorAll('.item')[1].focus()")
        tab.press("Enter", 13)
        tab.wait(f"document.querySelector('.verdict-file').textContent === '{synthetic[1].name}'")
        assert tab.run("document.querySelectorAll('.item')[1].getAttribute('aria-current')") == "true"
        nodes = tab.send("Accessibility.getFullAXTree")["nodes"]
        controls = [
            n for n in nodes if n.get("role", {}).get("value") in ("button", "link", "slider", "combobox", "image")
        ]
        assert len(controls) >= 8
        assert [node["role"]["value"] for node in controls if not node.get("name", {}).get("value")] == []


def test_slider_and_label_change_what_is_shown(server, browser, synthetic) -> None:
    pixels = """(() => { const canvas = document.querySelector('.frame.square canvas');
      const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return Array.from(data.filter((_, i) => i % 997 === 0)); })()"""
    with opened(browser, server.url) as tab:
        (answer,) = grade(tab, synthetic[1])
        tab.wait(SHOWN)
        show_heat(tab)
        over = np.array(tab.run(pixels))
        tab.run(
            "(() => { const s = document.querySelector('.slider input'); s.value = 0; s.dispatchEvent(new "
            "Event('input')); })()"
        )
        plain = np.array(tab.run(pixels))
        assert np.abs(over - plain).max() > 20
        wrong = next(name for name in answer["outputs"]["probabilities"] if name != answer["decision"]["class_name"])
        for label, words in (
            (answer["decision"]["class_name"], "same as the answer"),
            (wrong, "differs from the answer"),
        ):
            tab.run(
                f"(() => {{ const s = document.getElementById('label'); s.value = {json.dumps(label)}; "
                "s.dispatchEvent(new Event('change')); })()"
            )
            assert tab.run("document.querySelector('.agrees').textContent") == words
        saved = grade(tab)
        assert saved[0]["label"] == {"given": wrong, "agrees": False}
        tab.run("document.getElementById('clear').click()")
        assert tab.run("document.querySelectorAll('.item').length") == 0
        assert not tab.run("document.getElementById('empty').hidden")
