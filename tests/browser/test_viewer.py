"""The images of a scan whose pixels are known: windows, layouts, comparing, measuring, planes.

What a user of a telephone does, too, is tried there as well, with fingers.
"""

import numpy as np
import pytest
from made import REAL, SERIES, Made
from PIL import Image
from pixels import (
    SHARE,
    amber,
    away,
    canvas,
    centre,
    choose_image,
    drag,
    drawn,
    index,
    pixel,
    press,
    reds,
    row,
    says,
    shown,
    spoken,
    statistics,
    stroke,
    tool,
    touch,
    written,
)

# By how much the line of tools is longer than its place.
TOOLS_BEYOND = """(() => {
  const { scrollWidth, clientWidth } = document.querySelector(".tools");
  return scrollWidth - clientWidth;
})()"""


def numbers(text):
    """Width and level out of "W 240  L 300"."""
    return [float(word) for word in text.split()[1:4:2]]


# Windows.


def test_it_opens_at_a_window_of_the_brain_in_the_files_own_units(viewer):
    # The simulated brain has 240 to 380 of 1000, its inner part 260 to 360, and its scalp 950.
    brain, level = numbers(written(viewer, "original", "window"))
    assert 90 < brain < 140
    assert 280 < level < 340
    width, level = numbers(written(viewer, "translated", "window"))  # has no units: shares
    assert 0.08 < width < 0.14
    assert 0.66 < level < 0.72
    preset = viewer.get_by_label("Window preset")
    preset.select_option("File's own")
    assert written(viewer, "original", "window") == "W 800  L 400  file's own"
    press(viewer, "l")
    assert "file" not in written(viewer, "original", "window")
    preset.select_option("Full range")
    assert written(viewer, "original", "window") == "W 1000  L 500"
    assert written(viewer, "translated", "window") == "W 1.00  L 0.50"
    greys = reds(viewer, "original", 0.5)
    assert abs(greys[len(greys) // 2] - 255 * 0.31) < 3
    preset.select_option("High contrast")
    assert numbers(written(viewer, "original", "window"))[0] < brain
    tool(viewer, "reset")
    assert numbers(written(viewer, "original", "window"))[0] == brain
    press(viewer, *["+"] * 12, *["Shift+ArrowRight"] * 10, "a")  # the region in view
    width, level = numbers(written(viewer, "original", "window"))
    assert width < 90  # a part of the fading brain
    assert level > 310  # its brighter side


def test_a_drag_changes_one_window_for_original_and_reconstruction_and_pans_all(viewer):
    names = ("original", "translated", "reconstructed")

    def changed_by(act):
        """Names of the images that `act` changes."""
        away(viewer)
        before = [statistics(viewer, name) for name in names]
        act()
        away(viewer)
        return {n for n, b in zip(names, before, strict=True) if statistics(viewer, n) != b}

    def draw_across():
        drag(viewer, centre(viewer, "original"), (-100, 90))

    assert changed_by(lambda: draw_across() or tool(viewer, "reset")) == set()
    assert changed_by(draw_across) == {"original", "reconstructed"}
    tool(viewer, "pan")
    assert changed_by(lambda: tool(viewer, "zoomIn")) == set(names)
    assert changed_by(draw_across) == set(names)


def test_the_right_button_zooms_without_a_menu_and_invert_turns_white_to_black(viewer):
    viewer.evaluate(
        "addEventListener('contextmenu', (event) => { window.menu = !event.defaultPrevented; })"
    )
    before = written(viewer, "original", "window")
    drag(viewer, centre(viewer, "original"), (0, -100), button="right")
    assert viewer.evaluate("window.menu") is not True
    assert written(viewer, "original", "window") == before
    spoken(viewer, "^Zoom 1\\d\\d %")
    tool(viewer, "reset")
    away(viewer)
    assert reds(viewer, "original", 0.3)[-40] == 0  # air
    tool(viewer, "invert")
    away(viewer)
    assert reds(viewer, "original", 0.3)[-40] == 255


# Layouts.


def test_layouts_have_a_key_each_and_the_choice_lasts(opened):
    viewer = opened(Made())
    assert shown(viewer) == ["original", "translated", "reconstructed"]
    press(viewer, "4")
    assert shown(viewer) == ["original", "translated", "reconstructed", "cycleError"]
    press(viewer, "2")
    assert shown(viewer) == ["original", "translated"]
    choose_image(viewer, 0, "Cycle error")  # in place of the original
    assert shown(viewer) == ["cycleError", "translated"]
    choose_image(viewer, 0, "Synthetic T2")  # they change places
    assert shown(viewer) == ["translated", "cycleError"]
    for _ in range(2):
        canvas(viewer, "cycleError").dblclick()
        assert shown(viewer) in (["cycleError"], ["translated", "cycleError"])
    press(viewer, "f")
    viewer.wait_for_function("document.fullscreenElement?.matches('.viewer')")
    tool(viewer, "fullScreen")  # the way out without keys
    viewer.wait_for_function("!document.fullscreenElement")
    viewer.reload()
    viewer.wait_for_selector("[data-panel=translated].filled")
    assert shown(viewer) == ["original", "translated"]


@pytest.mark.parametrize(
    ("size", "least", "count"),
    [
        ((1440, 900), 78, 3),
        ((1920, 1080), 82, 3),
        ((1100, 800), 70, 3),
        ((820, 1180), 68, 2),
        ((390, 844), 68, 2),
    ],
)
def test_the_images_fill_the_window_whatever_is_open(show, size, least, count):
    several = {"series": SERIES, "companion": {"label": "AX T2 TSE"}}
    for made in (Made(1), Made(24), Made(24, **several), Made(24, **several, real=REAL)):
        page = show(made, "phone" if size[0] < 800 else "desk")
        page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
        tool(page, f"layout{count}")
        assert page.locator(".panel:visible").count() == count
        assert page.evaluate(SHARE) >= least
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.evaluate("document.documentElement.scrollHeight") <= size[1]
        if size[0] >= 1100:
            assert page.locator("#top").bounding_box()["height"] <= 48
            tops = {panel.bounding_box()["y"] for panel in page.locator(".panel:visible").all()}
            assert len(tops) == 1  # side by side
            press(page, "e", "o")  # the longest line of tools
            assert page.evaluate(TOOLS_BEYOND) <= 0


# Comparing.


def test_two_images_blink_in_one_place_and_the_label_says_which(viewer):
    press(viewer, "2", "1")
    choose_image(viewer, 0, "Original T1")
    away(viewer)
    own = row(viewer, "original")
    assert amber(viewer) == 0
    viewer.keyboard.down("b")
    viewer.wait_for_timeout(400)  # longer than a tap
    other = row(viewer, "original")
    assert other != own
    assert amber(viewer) > 50
    assert "Synthetic T2" in canvas(viewer, "original").get_attribute("aria-label")
    viewer.keyboard.up("b")
    assert row(viewer, "original") == own
    viewer.keyboard.press("b")  # a tap stays
    assert row(viewer, "original") == other
    press(viewer, "+", "+")
    assert amber(viewer) > 50  # at every zoom
    viewer.evaluate("document.querySelector('[data-tool=blink]').click()")  # a screen reader's
    assert amber(viewer) == 0
    press(viewer, "2")
    button = viewer.locator("[data-tool=blink]")
    keyboard, mouse = viewer.keyboard, viewer.mouse
    for hold, release in (
        (lambda: button.focus() or keyboard.down("Space"), lambda: keyboard.up("Space")),
        (lambda: button.hover() or mouse.down(), mouse.up),
    ):
        hold()
        viewer.wait_for_timeout(400)
        assert shown(viewer) == ["translated", "original"]
        release()
        assert shown(viewer) == ["original", "translated"]


def test_a_line_swipes_and_one_image_lies_over_the_other(anywhere):
    page = anywhere
    tool(page, "layout2")
    away(page)
    own, other = reds(page, "original"), reds(page, "translated")
    tool(page, "swipe")
    x, y = centre(page, "original")
    stroke(page, (x, y), (-60, 0))
    away(page)
    swiped = reds(page, "original")
    at = len(own) // 2 - 60
    assert swiped[: at - 12] == own[: at - 12]
    assert swiped[at + 20 :] == other[at + 20 :]
    press(page, "]")
    assert reds(page, "original") != swiped
    tool(page, "overlay")
    page.get_by_label("Opacity of the overlay").fill("25")
    away(page)
    mixed = reds(page, "original")
    assert max(abs(m - 0.75 * a - 0.25 * b) for m, a, b in zip(mixed, own, other, strict=True)) < 4
    press(page, "]")
    assert page.get_by_label("Opacity of the overlay").input_value() == "30"
    tool(page, "overlay")
    away(page)
    assert reds(page, "original") == own


# From slice to slice.


def test_every_slice_is_here_before_it_is_asked_for_and_each_looks_different(show):
    made = Made(slices=10, size=64)
    page = show(made)
    for _ in range(100):
        if len(made.asked) >= 31:
            break
        page.wait_for_timeout(50)
    asked = [path for path in made.asked if "uncertainty" not in path]
    names = ("original", "translated", "reconstructed")
    assert sorted(asked) == sorted(f"0/{name}/{at}" for name in names for at in range(10))
    assert made.asked[0] == "0/original/5"  # the one on screen
    press(page, "Home")
    away(page)
    seen, places = set(), set()
    for at in range(10):
        assert index(page) == at
        counter = page.locator(".scrubber output")
        assert counter.evaluate("(e) => e.textContent").split() == [str(at + 1), "of", "10"]
        places.add(tuple(counter.bounding_box().values()))
        seen.add(tuple(statistics(page, name)[2] for name in ("original", "translated")))
        page.keyboard.press("ArrowDown")
    assert len(seen) == 10
    assert len(places) == 1  # the counter stays where it is
    assert len({*made.asked}) == len(made.asked)  # nothing twice
    canvas(page, "translated").hover()
    page.mouse.wheel(0, -100)
    assert index(page) == 8
    page.locator(".scrubber input").focus()
    page.keyboard.press("Home")
    assert index(page) == 0


def test_no_older_image_stands_under_a_new_number(show):
    made = Made(slices=8, size=64, ready=[[4, 4]], translating=True)
    page = show(made)
    says(page, "^Translating: 1 of 8 slices")
    assert page.locator(".line progress").get_attribute("value") == "0.125"
    press(page, "ArrowDown")
    page.wait_for_selector("[data-panel=original].filled")
    assert page.locator("[data-panel=translated].filled").count() == 0
    assert page.locator("[data-panel=translated] .panel-empty").inner_text() == "Translating"
    assert statistics(page, "translated")[1] < 20  # its label alone
    page.wait_for_timeout(400)
    assert made.choices == [{"index": 5}]  # the server begins here
    made.change(ready=[[4, 5]])
    page.wait_for_selector("[data-panel=translated].filled")
    assert index(page) == 5


def test_slices_play_back_and_forth(viewer):
    viewer.get_by_role("button", name="Play").click()
    for at in (2, 0, 2):
        viewer.wait_for_selector(f".viewer[data-index='{at}']")
    press(viewer, "Space")
    viewer.wait_for_timeout(150)
    at = index(viewer)
    viewer.wait_for_timeout(400)
    assert index(viewer) == at


# Keys.


def test_keys_work_wherever_the_focus_is_and_those_of_one_letter_can_be_switched_off(viewer):
    for selector in ("[data-tool=invert]", "[data-do=open]", "#direction input", "body"):
        viewer.evaluate("(s) => document.querySelector(s).focus()", selector)
        before = index(viewer)
        viewer.keyboard.press("ArrowUp" if before else "ArrowDown")
        assert index(viewer) != before, selector
    # After a choice by mouse the keys are the images' again.
    preset = viewer.get_by_label("Window preset")
    preset.click()
    preset.select_option("Full range")
    viewer.wait_for_function("document.activeElement.matches('.panel canvas')")
    viewer.locator("#side .toggle-button").click()
    field = viewer.locator("#side input:not([type=checkbox], [type=radio])").first
    field.focus()
    viewer.keyboard.press("4")
    assert len(shown(viewer)) == 3  # text is text
    viewer.locator("#side .toggle-button").click()
    for expected in (3, 4):
        tool(viewer, "help")
        viewer.get_by_label("Single-key shortcuts").click()
        viewer.keyboard.press("Escape")
        press(viewer, "4")
        assert len(shown(viewer)) == expected


# Measuring.


def test_measures_are_drawn_moved_undone_and_stay_with_their_slice(anywhere):
    page = anywhere
    away(page)
    bare = statistics(page, "original")
    (x, y), size = centre(page, "original"), pixel(page)
    tool(page, "ruler")
    stroke(page, (x, y), (30 * size, 40 * size))
    spoken(page, r"^Ruler (9[89]|10[01])\.\d mm")  # 50 pixels of 2 mm
    stroke(page, (x + 30 * size, y + 40 * size), (0, -40 * size))  # its end
    spoken(page, r"^Ruler (59|60|61)\.\d mm")
    tool(page, "region")
    stroke(page, (x - 10 * size, y + 20 * size), (10 * size, 0))
    # 314 pixels of 4 mm² in the simulated brain.
    spoken(page, r"Original T1 [23]\d\d ± \d, 1[12]\d\d mm², Synthetic T2 0\.[67]\d+ ± 0\.00\d, 1")
    away(page)
    both = statistics(page, "original")
    press(page, "ArrowDown", "ArrowUp")
    assert statistics(page, "original") == both
    press(page, "ArrowUp")
    away(page)
    other = statistics(page, "original")
    press(page, "Shift+Delete")
    away(page)
    assert statistics(page, "original") == other  # they were not on this slice
    press(page, "z", "ArrowDown")
    away(page)
    assert statistics(page, "original") == both
    press(page, "Delete", "Delete")
    away(page)
    assert statistics(page, "original") == bare


def test_measures_are_listed_gone_to_and_copied_as_a_table(anywhere):
    page = anywhere
    assert not page.locator("[data-tool=measures]").is_visible()
    (x, y), size = centre(page, "original"), pixel(page)
    tool(page, "region")
    stroke(page, (x, y), (10 * size, 0))
    press(page, "ArrowDown")
    tool(page, "ruler")
    stroke(page, (x, y), (20 * size, 0))
    tool(page, "planes")
    tool(page, "region")
    coronal = page.locator(".panel:visible").nth(1).bounding_box()
    middle = (coronal["x"] + coronal["width"] / 2, coronal["y"] + coronal["height"] / 2)
    stroke(page, middle, (12, 0))
    tool(page, "measures")
    entries = page.locator(".measures .entry")
    where = [entry.splitlines()[-1] for entry in entries.all_inner_texts()]
    assert where == ["slice 2", "slice 3", "row 65"]
    page.locator("[data-do=copyMeasures]").click()
    page.locator("[data-do=copyMeasures]", has_text="Copied").wait_for()
    head, region, ruler, cut = page.evaluate("navigator.clipboard.readText()").split("\n")
    assert head.split("\t")[3:5] == ["Original T1 mean", "Original T1 deviation"]
    assert abs(float(region.split("\t")[3]) - 310) < 4  # of 1000, though slice 3 is on screen
    assert ruler.startswith("Ruler\tslice 3\t")
    assert 250 < float(cut.split("\t")[3]) < 370
    entries.nth(0).click()
    assert index(page) == 1
    page.locator("[data-do=removeAll]").click()
    drawn(page)
    assert not page.locator("[data-tool=measures]").is_visible()


def test_measures_are_drawn_by_key(viewer):
    press(viewer, "c", "m", "Shift+ArrowRight")
    spoken(viewer, r"^Ruler 20\.0 mm")
    press(viewer, "m", "Escape")
    spoken(viewer, "Cross-hair off")


# What lies over the images, and is saved.


def test_a_map_lies_over_the_anatomy_where_there_is_error(anywhere):
    page = anywhere
    away(page)
    plain = row(page, "original", 0.56)
    tool(page, "map")
    away(page)
    assert page.get_by_label("Which map").input_value() == "cycleError"
    over = row(page, "original", 0.56)
    middle = len(over) // 2 + 10
    red, green, _ = over[middle]
    assert red > green + 5  # the map's colour, where the reconstruction differs
    assert plain[middle][0] == plain[middle][1]
    assert over[4] == plain[4]  # air
    # The colour bar, bright on top.
    bar = [
        row(page, "original", (36 + at) / canvas(page, "original").bounding_box()["height"])[-15]
        for at in (8, 60)
    ]
    assert sum(bar[0]) > sum(bar[1]) + 60
    page.get_by_label("Opacity of the map").fill("0")
    away(page)
    assert row(page, "original", 0.56)[middle] == plain[middle]


def test_the_view_is_saved_as_it_is_seen_and_says_what_it_is(anywhere):
    page = anywhere
    (x, y), size = centre(page, "original"), pixel(page)
    tool(page, "ruler")
    stroke(page, (x, y), (20 * size, 0))
    away(page)
    with page.expect_download() as download:
        tool(page, "picture")
    assert download.value.suggested_filename == "synthetic_T2_view_slice2.png"
    with Image.open(download.value.path()) as image:
        assert "not for diagnosis" in image.text["Caveat"]
        box = page.locator(".grid").bounding_box()
        assert image.size == (round(box["width"]), round(box["height"]) + 24)
        pixels = np.asarray(image.convert("RGB"))
    seen = np.array(row(page, "translated"))
    second = page.locator(".panel").nth(1).bounding_box()
    left, top = round(second["x"] - box["x"]), round(second["y"] - box["y"])
    saved = pixels[top + round(second["height"] * 0.62), left : left + len(seen)]
    assert np.abs(saved.astype(int) - seen).mean() < 3
    label = pixels[top : top + 40, left : left + 300].astype(int)
    assert ((label[..., 0] > 180) & (label[..., 2] < 0.6 * label[..., 0])).sum() > 50  # amber


def test_a_view_smaller_than_its_own_pixels_is_saved_at_theirs(viewer):
    press(viewer, "0", *["-"] * 4)
    viewer.set_viewport_size({"width": 420, "height": 700})
    drawn(viewer)
    with viewer.expect_download() as download:
        viewer.keyboard.press("v")
    with Image.open(download.value.path()) as image:
        assert image.size[0] >= 2 * viewer.locator(".grid").bounding_box()["width"] - 2


def test_a_value_stands_under_the_cross_hair_with_its_interval_and_place(viewer):
    viewer.wait_for_selector(".trust:visible span:has-text('anatomy match 1.21')")
    viewer.wait_for_function(
        "import(new URL('viewer/trust.js', document.baseURI)).then((it) => it.interval())"
    )
    canvas(viewer, "translated").focus()
    viewer.keyboard.press("c")
    viewer.keyboard.press("Shift+ArrowLeft")
    spoken(viewer, r"^Column 55, row 65: 0\.7\d ± 0\.20 \(9 in 10\)")
    assert written(viewer, "original", "value") == "295"
    position = viewer.locator(".line .position").inner_text()
    assert position == "column 55, row 65 · L 8.0 P 48.0 I 15.0 mm"
    viewer.keyboard.press("Escape")
    away(viewer)
    plain = row(viewer, "translated")
    tool(viewer, "hatch")
    away(viewer)
    spoken(viewer, "% of the head hatched")
    half = len(plain) // 2
    differs = [a != b for a, b in zip(plain, row(viewer, "translated"), strict=True)]
    assert sum(differs[:half]) > 6  # where the interval is wide
    assert sum(differs[half:]) <= 3


def test_a_real_image_is_waited_for_compared_and_called_what_it_looks_like(show):
    made = Made(slices=1, companion={"label": "AX T2"})
    page = show(made)
    module = "import(new URL('viewer/main.js', document.baseURI))"
    page.evaluate(module + ".then((viewer) => void viewer.compareWithCompanion())")
    says(page, "registering it onto the scan")
    assert page.locator(".line progress").is_visible()
    made.finish(real=REAL, companion=None)
    page.wait_for_selector("[data-panel=real].filled")
    assert page.locator(".line progress").is_hidden()
    assert shown(page) == ["original", "translated", "real"]
    press(page, "4")
    assert shown(page) == ["original", "translated", "reconstructed", "real"]
    choose_image(page, 2, "True error")
    away(page)
    # The real image is darker by a tenth of the range: the true error is orange there.
    colours = row(page, "trueError", 0.5)
    red, green, blue = colours[len(colours) // 2 + 10]
    assert red > green > blue
    looks_t1 = {"title": "compared image, looks like T1", "contrast": "T1"}
    made.change(real=REAL | looks_t1 | {"warning": "It looks like T1."})
    title = page.locator("[data-panel=real] option:checked")
    title.filter(has_text="Compared image, looks like T1").wait_for(state="attached")
    page.locator(".trust:visible").click()
    assert "It looks like T1." in page.locator("#menu-trust").inner_text()


def test_a_key_does_one_thing(viewer):
    of_tools, others = viewer.evaluate(
        """Promise.all(["tools", "keys"].map((name) =>
            import(new URL(`viewer/${name}.js`, document.baseURI))))
          .then(([{ TOOLS }, { KEYS }]) => [
            Object.values(TOOLS).flat().map(({ key }) => key?.toLowerCase()).filter(Boolean),
            Object.keys(KEYS).map((key) => key.toLowerCase())])"""
    )
    assert len(of_tools) == len(set(of_tools)) > 10
    assert not set(of_tools) & set(others)


# Planes.

LOOKS = """() => [...document.querySelectorAll(".panel canvas")].filter((e) => e.checkVisibility())
  .map((canvas) => canvas.toDataURL())"""


def test_planes_through_the_volume_share_a_cross_hair(anywhere):
    page = anywhere
    tool(page, "planes")
    panels = page.locator(".panel:visible")
    assert panels.count() == 6
    words = panels.nth(1).locator("canvas").get_attribute("aria-label")
    assert words.startswith("Original slice, coronal plane, column 65, row 65 · ")
    away(page)
    before = page.evaluate(LOOKS)
    assert len(set(before)) == 6
    box = panels.nth(1).bounding_box()
    stroke(page, (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2), (40, -40))
    away(page)
    assert all(a != b for a, b in zip(before, page.evaluate(LOOKS), strict=True))
    assert index(page) == 2  # towards the head
    assert "column 65" not in panels.nth(4).locator("canvas").get_attribute("aria-label")
    tool(page, "layout2")
    assert shown(page) == ["original", "translated"]


# Fingers.


def test_one_finger_goes_through_slices_two_zoom_and_one_that_rests_sets_the_window(show):
    phone = show(Made(), "phone")

    def at(point, *moves):
        return [(point[0] + dx, point[1] + dy) for dx, dy in moves]

    point, fresh = centre(phone, "original"), written(phone, "original", "window")
    touch(phone, at(point, (0, 0), (0, 10), (0, 20), (0, 30)))
    assert index(phone) == 2
    assert written(phone, "original", "window") == fresh
    touch(phone, at(point, (0, 0), (30, -20), (60, -40)), hold=700)
    resting = written(phone, "original", "window")
    assert resting != fresh
    assert index(phone) == 2
    touch(phone, at(point, (-20, 0), (-50, 0), (-80, 0)), at(point, (20, 0), (50, 0), (80, 0)))
    spoken(phone, "Zoom [2-9]")
    assert written(phone, "original", "window") == resting
    scrubber = phone.locator(".scrubber input").bounding_box()
    edge = scrubber["x"] + scrubber["width"] / 2, scrubber["y"] + scrubber["height"] - 4
    touch(phone, at(edge, (0, 0), (0, -scrubber["height"] + 10)))
    assert index(phone) == 0


def test_on_a_telephone_targets_fit_a_finger_and_tools_stay_while_the_image_does(show):
    phone = show(Made(), "phone")
    small = phone.evaluate(
        """[...document.querySelectorAll(":is(.tools, .scrubber, #top) :is(button, select, label)")]
          .filter((e) => e.checkVisibility({ opacityProperty: true }) && !e.matches(".skip"))
          .map((e) => [e.outerHTML.slice(0, 60), e.getBoundingClientRect()])
          .filter(([, box]) => box.width < 27 || box.height < 40).map(([html]) => html)"""
    )
    assert small == []
    assert phone.locator("[data-tool=window]").bounding_box()["y"] < 844
    assert phone.evaluate("document.documentElement.scrollHeight") <= 844
