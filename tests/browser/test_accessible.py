"""The page for readers without a mouse, with a screen reader, large text or own colours."""

import json

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from frames import wait_until_still
from looks import CONTRASTS, CUT_OFF, FOCUSED, open_example
from PIL import Image

from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
THEMES = ["light", "dark"]


@pytest.fixture(scope="module")
def real_t2(tmp_path_factory):
    """An image that the single-slice examples can be compared with: 256 x 256."""
    path = tmp_path_factory.mktemp("files") / "real.png"
    pixels = simulate_pair(draw_slice(27, level=0.5), np.random.default_rng(27)).t2
    Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8)).save(path)
    return path


def violations(page, state):
    """What axe finds, one line each."""
    wait_until_still(page)
    options = {"runOnly": RULES, "resultTypes": ["violations"]}  # what passes takes longer to list
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{state}: {rule['id']} ({rule['impact']}) {node['target']} {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize(("theme", "width"), [("light", 1400), ("dark", 390)])
def test_axe_finds_nothing_in_any_state(opened, tmp_path, real_t2, theme, width):
    page = opened(color_scheme=theme, viewport={"width": width, "height": 900})
    dark = page.evaluate("document.body.classList.contains('dark')")
    assert dark == (theme == "dark")
    found = violations(page, "empty")

    wrong = tmp_path / "report.txt"
    wrong.write_text("Findings: none.")
    page.set_input_files("#upload input[type=file]", str(wrong))
    page.wait_for_selector("#status [role=alert]")
    found += violations(page, "error sentence")

    open_example(page, "Simulated T1")
    found += violations(page, "slice translated")
    page.get_by_label("T2 → T1", exact=True).check()
    page.wait_for_selector("#notice [role=alert]")
    page.get_by_role("button", name="Switch to T1 → T2").wait_for()
    found += violations(page, "notice of the input check")
    page.get_by_label("T1 → T2", exact=True).check()

    page.get_by_role("button", name="I have the real T2").click()
    page.set_input_files("#truth-upload input[type=file]", str(real_t2))
    page.wait_for_selector("[data-panel=truth].filled")
    page.wait_for_selector(".truth-numbers dd")
    found += violations(page, "real image compared")
    page.locator("[data-panel=truth] canvas").press("4")
    page.get_by_role("button", name="Swipe").click()
    found += violations(page, "four images, swiped")
    page.get_by_role("button", name="Overlay").click()
    found += violations(page, "four images, overlaid")
    page.get_by_role("button", name="Overlay").click()

    page.get_by_role("button", name="NIfTI", exact=True).click()
    page.get_by_text("Saved synthetic").wait_for()
    found += violations(page, "downloads")

    open_example(page, "T1 volume")
    for name in ("What this shows, and what it does not", "Mouse, touch and keys"):
        page.get_by_text(name).click()
    found += violations(page, "volume")
    page.get_by_role("button", name="Uncertainty", exact=True).click()
    page.wait_for_selector("[data-panel=difference].filled")
    found += violations(page, "volume with a map")
    assert found == []

    page.locator("[data-panel=original] canvas").hover()
    text = page.evaluate(
        CONTRASTS, "h1, h2, h3, .edge, .corner, .panel-empty, main p, main dd, kbd"
    )
    assert any("corner-value" in name for name, _ in text)
    assert [(name, ratio) for name, ratio in text if ratio < 4.5] == []


def test_what_changes_is_announced_and_what_it_is_told(opened, go_on):
    page = opened()
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.title() == "T1 ↔ T2 brain MRI translation"
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("radiogroup", name="Direction").get_by_role("radio").count() == 2
    assert page.get_by_role("region", name="Linked image viewer").count() == 1
    for line in ("status", "notice", "saved"):
        assert page.get_attribute(f"#{line}", "aria-live") == "polite"
    open_example(page, "T1 volume")
    page.get_by_role("button", name="All 24 slices").click()
    # Counted every few hundred milliseconds: to be looked at, not to be read out each time.
    page.wait_for_selector("#status [aria-live=off] progress[aria-label]")
    go_on()
    page.wait_for_selector("#status [role=status]:has-text('all 24 slices')")
    page.get_by_role("button", name="Four images").click()
    names = page.locator(".viewer-panels canvas:visible").evaluate_all(
        "all => all.map((e) => e.ariaLabel)"
    )
    assert all(name.endswith(", axial slice 13 of 24") for name in names)
    assert len(set(names)) == 4


@pytest.mark.usefixtures("go_on")
def test_reduced_motion_is_respected(opened):
    moving = """() => [...document.querySelectorAll("*")].filter((e) => {
      const style = getComputedStyle(e);
      const times = [style.transitionDuration];
      if (style.animationName !== "none") times.push(style.animationDuration);
      return times.join().split(",").some((time) => parseFloat(time) > 0);
    }).map((e) => e.tagName + " " + e.className)"""
    watch = """() => {
      window.moved = [];
      const look = () => {
        for (const each of document.getAnimations()) {
          const { duration } = each.effect.getComputedTiming();
          if (duration > 0) window.moved.push(each.effect.target.outerHTML.slice(0, 80));
        }
        requestAnimationFrame(look);
      };
      look();
    }"""
    normal = opened()
    assert normal.evaluate(moving) != []  # the check sees what there is to see
    page = opened(reduced_motion="reduce")
    page.evaluate(watch)
    assert page.evaluate(moving) == []
    open_example(page, "T1 volume")
    page.get_by_role("button", name="All 24 slices").click()
    page.wait_for_selector("#status progress")
    assert page.evaluate(moving) == []
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="I have the real T2").click()
    wait_until_still(page)
    assert page.evaluate(moving) == []
    assert page.evaluate("[...new Set(window.moved)]") == []


def test_the_readers_own_colours_keep_what_matters(opened):
    page = opened(forced_colors="active", reduced_motion="reduce")
    open_example(page, "T1 volume")
    style = """(selector) => {
      const style = getComputedStyle(document.querySelector(selector));
      return JSON.stringify([style.backgroundColor, style.backgroundImage]);
    }"""
    pressed, other = (
        page.evaluate(style, f".viewer [data-tool][aria-pressed={state}]")
        for state in ("true", "false")
    )
    assert pressed != other
    ratios = page.evaluate(CONTRASTS, ".viewer button")
    assert [ratio for _, ratio in ratios if ratio < 4.5] == []
    # Gradio draws these in colours of its own, which are taken away.
    for part in ("#direction input", "input[type=range]"):
        assert page.evaluate(f"getComputedStyle(document.querySelector('{part}')).appearance") == (
            "auto"
        )
    page.get_by_role("button", name="Cycle error").click()
    assert "gradient" in json.loads(page.evaluate(style, ".colour-ramp"))[1]
    page.keyboard.press("Tab")
    page.locator("button[data-tool=pan]").focus()
    assert page.evaluate(FOCUSED)[1] >= 3


@pytest.mark.parametrize(("width", "text"), [(320, 100), (1280, 200), (390, 200)])
def test_narrow_screens_and_large_text_lose_nothing(opened, width, text):
    page = opened(viewport={"width": width, "height": 900})
    page.add_style_tag(content=f"html {{ font-size: {text}% }}")
    open_example(page, "T1 volume")
    page.get_by_text("What this shows, and what it does not").click()
    page.get_by_text("Mouse, touch and keys").click()
    page.get_by_role("button", name="I have the real T2").click()
    wait_until_still(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT_OFF) == []
