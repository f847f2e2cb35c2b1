"""The light box: how large the images are, what is beside what, and how two are compared."""

import re

import pytest
from alone import open_viewer
from frames import wait_until_drawn

SIZES = {(1440, 900): 640, (1920, 1080): 850}  # of the window: the least side of one of two panels
STAGES = """() => [...document.querySelectorAll(".panel-stage")].filter((e) => e.checkVisibility())
  .map((e) => e.getBoundingClientRect())
  .map(({ left, top, right, bottom }) => ({ left, top, right, bottom }))"""
SHOWN = """() => [...document.querySelectorAll(".panel")].filter((e) => e.checkVisibility())
  .sort((a, b) => a.style.order - b.style.order).map((e) => e.dataset.shows)"""
# The red channel of a row of the panel's canvas, two thirds down: below all labels.
ROW = """(name) => {
  const canvas = document.querySelector(`[data-panel=${name}] canvas`);
  const row = Math.round(canvas.height * 0.6);
  const { data } = canvas.getContext("2d").getImageData(0, row, canvas.width, 1);
  return [...data].filter((_, i) => i % 4 === 0);
}"""
# Quicker than a busy machine's keyboard.
TAP = """() => ["keydown", "keyup"].forEach((kind) => document.activeElement.dispatchEvent(
  new KeyboardEvent(kind, { key: "b", bubbles: true })
))"""
LABEL = """(name) => {
  const canvas = document.querySelector(`[data-panel=${name}] canvas`);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width / 2, 32);
  const amber = data.filter((v, i) => i % 4 === 0 && v > 180 && data[i + 2] < 0.6 * v).length;
  return [amber, data.reduce((sum, v, i) => (sum * 31 + v * (1 + (i % 7))) % 1000003, 7)];
}"""


def share(page):
    """Of the window that is image."""
    size = page.viewport_size
    area = sum(
        max(0, min(b["right"], size["width"]) - max(b["left"], 0))
        * max(0, min(b["bottom"], size["height"]) - max(b["top"], 0))
        for b in page.evaluate(STAGES)
    )
    return area / size["width"] / size["height"]


@pytest.fixture
def page(chromium):
    """A translated volume of three slices in the viewer alone, without the page around it."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    open_viewer(page)
    yield page
    context.close()


def press(page, name, *keys):
    page.locator(f"[data-panel={name}] canvas").focus()
    for key in keys:
        page.keyboard.press(key)
    wait_until_drawn(page)


def row(page, name):
    wait_until_drawn(page)
    return page.evaluate(ROW, name)


def centre(page, name):
    box = page.locator(f"[data-panel={name}] canvas").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_layouts_have_a_key_each_and_a_double_click_enlarges(page):
    press(page, "translated", "4")
    assert page.evaluate(SHOWN) == ["original", "translated", "reconstructed", "difference"]
    press(page, "reconstructed", "1")
    assert page.evaluate(SHOWN) == ["reconstructed"]
    press(page, "reconstructed", "2")
    assert page.evaluate(SHOWN) == ["original", "translated"]
    page.locator("[data-panel=original] canvas").dblclick()
    assert page.evaluate(SHOWN) == ["original"]
    page.locator("[data-panel=original] canvas").dblclick()
    assert page.evaluate(SHOWN) == ["original", "translated"]
    page.get_by_role("button", name="Cycle error").click()  # in place of the active panel
    assert page.evaluate(SHOWN) == ["difference", "translated"]

    press(page, "translated", "f")
    page.wait_for_function("document.fullscreenElement?.matches('.lightbox')")
    press(page, "translated", "f")
    page.wait_for_function("!document.fullscreenElement")


def test_two_images_blink_in_one_place_and_the_label_says_which(page):
    press(page, "original", "1")
    own, label = row(page, "original"), page.evaluate(LABEL, "original")
    assert label[0] == 0  # amber is what the model made
    page.keyboard.down("b")
    page.wait_for_timeout(400)  # longer than a tap
    other = row(page, "original")
    assert other != own
    assert page.inner_text("[data-panel=original] h3") == "Synthetic T2"
    assert page.evaluate(LABEL, "original")[0] > 50
    assert "Synthetic T2" in page.locator("[data-panel=original] canvas").get_attribute(
        "aria-label"
    )
    page.keyboard.up("b")
    assert row(page, "original") == own
    assert page.evaluate(LABEL, "original") == label

    page.evaluate(TAP)  # stays
    assert row(page, "original") == other
    press(page, "original", "+", "+")
    zoomed = page.evaluate(LABEL, "original")
    assert zoomed[0] > 50  # at every zoom
    page.evaluate("document.querySelector('[data-compare=blink]').click()")  # a screen reader's
    assert page.inner_text("[data-panel=original] h3") == "Original"
    press(page, "original", "2")
    page.get_by_role("button", name="Cycle", exact=True).click()  # in place of the original
    button = page.get_by_role("button", name="Blink")
    for hold, release in (
        (lambda: button.focus() or page.keyboard.down("Space"), lambda: page.keyboard.up("Space")),
        (lambda: button.hover() or page.mouse.down(), page.mouse.up),
    ):
        hold()
        page.wait_for_timeout(400)
        assert page.evaluate(SHOWN) == ["translated", "reconstructed"]
        release()
        assert page.evaluate(SHOWN) == ["reconstructed", "translated"]


def test_a_line_swipes_and_one_image_lies_over_the_other(page):
    own, other = row(page, "original"), row(page, "translated")
    press(page, "original", "s")
    x, y = centre(page, "original")
    page.mouse.move(x - 100, y)
    page.mouse.move(x - 60, y)
    swiped = row(page, "original")
    at = len(own) // 2 - 60
    assert swiped[: at - 3] == own[: at - 3]
    assert swiped[at + 20 :] == other[at + 20 :]
    assert page.inner_text("[data-panel=original] h3") == "Original | Synthetic T2"
    press(page, "original", "]")
    assert row(page, "original") != swiped

    press(page, "original", "o")
    page.mouse.move(5, 5)
    page.get_by_label("Opacity of the overlay").fill("25")
    mixed = row(page, "original")
    mean = [0.75 * a + 0.25 * b for a, b in zip(own, other, strict=True)]
    assert max(abs(a - b) for a, b in zip(mixed, mean, strict=True)) < 4
    press(page, "original", "]")
    assert page.get_by_label("Opacity of the overlay").input_value() == "30"
    press(page, "original", "o")
    assert row(page, "original") == own


def test_two_images_fill_the_window_without_scrolling(opened):
    page = opened(viewport={"width": 1440, "height": 900})
    page.get_by_role("button", name="T1 volume", exact=True).click()
    page.wait_for_selector("[data-panel=translated].filled")
    for (width, height), least in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        wait_until_drawn(page, after=200)
        assert page.evaluate(SHOWN) == ["original", "translated"]
        for stage in page.evaluate(STAGES):
            sides = stage["right"] - stage["left"], stage["bottom"] - stage["top"]
            assert min(sides) >= least
            assert stage["top"] >= 0
            assert stage["bottom"] <= height
        assert share(page) >= 0.65
        scrubber = page.locator(".scrubber").bounding_box()
        assert scrubber["width"] <= 40
        assert scrubber["x"] + scrubber["width"] <= width
    page.set_viewport_size({"width": 820, "height": 1180})  # a tablet
    wait_until_drawn(page, after=200)
    left, right = page.evaluate(STAGES)
    assert left["left"] == right["left"]  # one above the other
    assert share(page) >= 0.6
    assert page.evaluate("document.documentElement.scrollWidth") <= 820


def say(page, words):
    page.wait_for_function(
        "(words) => document.querySelector('.viewer-spoken').textContent.includes(words)", arg=words
    )


def test_a_ruler_and_a_region_measure_in_both_images(page):
    x, y = centre(page, "original")
    box = page.locator("[data-panel=original] canvas").bounding_box()
    pixel = min(box["width"], box["height"]) / 128
    page.get_by_role("button", name="Ruler").click()
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30 * pixel, y + 40 * pixel, steps=2)
    page.mouse.up()
    say(page, "Ruler 100.0 mm")  # 50 pixels of 2 mm
    page.get_by_role("button", name="Region").click()
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 10 * pixel, y, steps=2)
    page.mouse.up()
    # 314 pixels around the middle of the drawn brain, whose original is 310 of 1000 there.
    page.wait_for_function(
        "(words) => new RegExp(words).test(document.querySelector('.viewer-spoken').textContent)",
        arg=r"Original 3(09|1\d) ± [78], 31\d pixels, Synthetic T2 0\.6[89]\d ± 0\.00\d, 31\d p",
    )
    position = page.inner_text(".viewer-position")
    assert re.match(r"column 7[45], row 6[45] · L \d+\.\d +[AP] \d+\.\d +I 15\.0 mm", position)

    press(page, "original", "Delete", "c", "m", "Shift+ArrowRight")
    say(page, "Ruler 20.0 mm")


def test_planes_through_the_volume_share_a_cross_hair(page):
    page.wait_for_function("document.querySelector('.viewer').keeps(2)")
    for _ in range(2):  # so that all slices are here
        page.locator(".scrubber input").press("ArrowUp")
    page.locator(".scrubber input").press("ArrowDown")
    page.wait_for_selector(".viewer[data-index='1']")
    page.get_by_role("button", name="Planes").click()
    planes = page.locator(".viewer-planes canvas")
    assert planes.count() == 6
    assert all(each.is_visible() for each in planes.all())
    assert page.evaluate(SHOWN) == []
    words = planes.nth(1).get_attribute("aria-label")
    assert words.startswith("Synthetic T2, coronal plane, column 65, row 65 · ")
    looks = """() => [...document.querySelectorAll(".viewer-planes canvas")].map((canvas) =>
      canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
        .reduce((sum, v, i) => (sum * 31 + v * (1 + (i % 7))) % 1000003, 7))"""
    wait_until_drawn(page)
    before = page.evaluate(looks)
    assert len(set(before)) == 6
    planes.nth(0).press("Shift+ArrowRight")
    planes.nth(0).press("ArrowUp")  # towards the head
    page.wait_for_selector(".viewer[data-index='2']")
    wait_until_drawn(page)
    assert all(a != b for a, b in zip(before, page.evaluate(looks), strict=True))
    assert "column 75, row 65" in planes.nth(5).get_attribute("aria-label")
    planes.nth(0).press("2")
    assert page.evaluate(SHOWN) == ["original", "translated"]

    page.get_by_role("button", name="Play").click()
    for index in (1, 0, 1):
        page.wait_for_selector(f".viewer[data-index='{index}']")
    page.get_by_role("button", name="Play").click()
    wait_until_drawn(page, after=200)
    at = page.get_attribute(".viewer", "data-index")
    page.wait_for_timeout(400)
    assert page.get_attribute(".viewer", "data-index") == at
