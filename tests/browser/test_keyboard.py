"""The page by keyboard alone: every part is reached, shows that it is, and does its work."""

import re

import pytest
from frames import wait_until_drawn
from looks import FOCUSED, open_example


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_tab_stop_is_reached_and_shows_it(opened, theme):
    page = opened(color_scheme=theme, reduced_motion="reduce")  # no ring half-way
    open_example(page, "T1 volume")
    page.get_by_role("button", name="I have the real T2").click()
    page.mouse.move(5, 5)
    faint, seen = [], 0
    for _ in range(100):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('[data-visited]')"):
            break
        if page.evaluate("document.activeElement === document.body"):
            continue  # round the end of the page
        name, contrast = page.evaluate(FOCUSED)
        seen += 1
        if contrast < 3:
            faint.append((name, contrast))
    assert faint == []
    missed = page.evaluate(
        """[...document.querySelectorAll("main :is(button, input, summary, canvas, a, textarea)")]
          .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.disabled)
          .filter((e) => !e.dataset.visited && e.type !== "file")
          .filter((e) => !(e.type === "radio" && !e.checked))
          .map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert missed == []
    assert seen > 20


def tab_to(page, selector):
    """Press Tab until what `selector` finds has the keys."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("(s) => document.activeElement.matches(s)", selector):
            return
    raise AssertionError(f"no tab stop {selector}")


def press_on(page, name):
    """Go to the button `name` by Tab and press Enter."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText") == name:
            return page.keyboard.press("Enter")
    raise AssertionError(f"no tab stop {name}")


def spoken(page, words):
    page.wait_for_function(
        "(words) => document.querySelector('.viewer-spoken').textContent.includes(words)", arg=words
    )


def test_a_whole_session_by_keyboard_alone(opened):
    page = opened()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choosers = []  # listened for from the start: a key is quicker than Chromium's switch for it
    page.on("filechooser", lambda chooser: choosers.append(chooser))

    def choose_by_enter(count):
        page.keyboard.press("Enter")
        for _ in range(100):
            if len(choosers) == count:
                return
            page.wait_for_timeout(100)
        raise AssertionError("no file chooser")

    press_on(page, "T1 volume")
    page.wait_for_selector(".viewer[data-found=all]")
    assert page.get_attribute(".viewer", "data-index") == "12"

    tab_to(page, "#upload button")
    choose_by_enter(1)
    assert choosers[0].is_multiple()

    tab_to(page, "#direction input")
    page.keyboard.press("ArrowDown")  # as in any group of radio buttons
    assert page.get_by_label("T2 → T1", exact=True).is_checked()
    page.wait_for_selector("#notice [role=alert]")
    press_on(page, "Translate")
    page.get_by_role("heading", name="Synthetic T1").wait_for()

    tab_to(page, "[data-panel=original] canvas")
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label == "Original slice as T2, axial slice 13 of 24"
    described = page.evaluate(
        "document.getElementById(document.activeElement.getAttribute('aria-describedby')).innerText"
    )
    assert all(word in described for word in ("slice", "window", "level", "zoom", "pan", "reset"))
    page.keyboard.press("ArrowDown")
    page.wait_for_selector(".viewer[data-index='13']")
    spoken(page, "Slice 14 of 24, Synthetic T1")
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label == "Original slice as T2, axial slice 14 of 24"
    page.keyboard.press("Home")
    page.wait_for_selector(".viewer[data-index='0']")
    page.keyboard.press("PageDown")
    page.wait_for_selector(".viewer[data-index='1']")
    page.keyboard.press("End")
    page.wait_for_selector(".viewer[data-index='23']")

    def window():
        wait_until_drawn(page)
        return page.inner_text("[data-panel=original] .corner-window")

    fresh = window()
    page.keyboard.press("w")
    narrow = window()
    assert narrow != fresh
    width, level = narrow.split()[1::2]
    spoken(page, f"Window {width}, level {level}")
    page.keyboard.press("Shift+L")
    lower = window()
    assert lower not in (fresh, narrow)
    spoken(page, f"level {lower.split()[3]}")

    def corner():
        wait_until_drawn(page)
        return page.evaluate(
            """() => {
              const canvas = document.querySelector("[data-panel=original] canvas");
              const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              return data.data.reduce((a, b, i) => (a * 31 + b * (i % 7)) % 1000003, 7);
            }"""
        )

    looks = [corner()]
    for key in ("+", "Shift+ArrowLeft", "Shift+ArrowDown", "-"):
        page.keyboard.press(key)
        looks.append(corner())
    assert len(set(looks)) == len(looks)
    page.keyboard.press("0")
    spoken(page, "View reset")
    assert window() == fresh

    page.keyboard.press("c")
    spoken(page, "Column 129, row 129: 0.")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    spoken(page, "Column 130, row 119: 0.")
    assert page.get_attribute(".viewer", "data-index") == "23"
    assert page.inner_text("[data-panel=translated] .corner-value").startswith("0.")
    page.keyboard.press("Escape")
    spoken(page, "Cross-hair off")

    press_on(page, "Cycle error")
    tab_to(page, "[data-panel=difference] canvas")
    before = page.inner_text(".colour-ticks")
    page.keyboard.press("w")
    spoken(page, "Colours up to")
    assert page.inner_text(".colour-ticks") != before
    tab_to(page, ".scrubber input")
    page.keyboard.press("Home")
    page.wait_for_selector(".viewer[data-index='0']")
    for _ in range(12):
        page.keyboard.press("ArrowDown")
    page.wait_for_selector(".viewer[data-index='12'][data-found=all]")

    press_on(page, "Pan")
    assert page.get_attribute("button[data-tool=pan]", "aria-pressed") == "true"
    press_on(page, "Copy report")
    spoken(page, "Report copied")
    assert "Synthetic T1 from T2" in page.evaluate("navigator.clipboard.readText()")
    press_on(page, "Mouse, touch and keys")
    assert page.get_by_text("the arrows move it, with Shift by ten pixels").is_visible()
    tab_to(page, "#truth > button")
    assert page.evaluate("document.activeElement.ariaExpanded") == "false"
    page.keyboard.press("Enter")
    page.wait_for_selector("#truth > button[aria-expanded=true]")
    tab_to(page, "#truth-upload button")
    choose_by_enter(2)
    with page.expect_download() as download:
        press_on(page, "PNG of this slice")
    name = download.value.suggested_filename
    assert re.fullmatch(r"synthetic_T1_[0-9a-f]{6}_slice13\.png", name)


def test_both_maps_are_chosen_by_key(opened):
    page = opened()
    open_example(page, "Simulated T1")
    press_on(page, "Cycle error")
    canvas = page.locator("[data-panel=difference] canvas")
    assert "cycle error, not translation error" in canvas.get_attribute("aria-label")
    press_on(page, "Uncertainty")
    page.wait_for_selector("[data-map=uncertainty][aria-pressed=true]")
    assert "uncertainty" in canvas.get_attribute("aria-label")
    press_on(page, "Translate")  # round the page
    press_on(page, "Cycle error")
    page.wait_for_selector("[data-map=cycle][aria-pressed=true]")
