"""The images of a scan whose pixels are known: windows, layouts, comparing, measuring, planes."""

import numpy as np
import pytest
from made import Made
from PIL import Image
from pixels import (
    SHARE,
    amber,
    away,
    canvas,
    centre,
    drag,
    drawn,
    press,
    reds,
    row,
    says,
    shown,
    spoken,
    statistics,
    tool,
    written,
)


def numbers(text):
    """Width and level out of "W 240  L 300"."""
    return [float(word) for word in text.split()[1:4:2]]


def index(page):
    drawn(page)
    return int(page.get_attribute(".viewer", "data-index"))


def show(page, position, name):
    """Have panel `position`, from 0, show the image called `name`."""
    page.locator(".panel-name select").nth(position).select_option(label=name)
    drawn(page)


# Windows.


def test_it_opens_at_a_window_of_the_brain_in_the_files_own_units(viewer):
    # The drawn brain has 240 to 380 of 1000, its inner part 260 to 360, and its scalp 950.
    brain, level = numbers(written(viewer, "original", "window"))
    assert 90 < brain < 140
    assert 280 < level < 340
    width, level = numbers(written(viewer, "translated", "window"))  # has no units: shares
    assert 0.09 < width < 0.14
    assert 0.66 < level < 0.72
    preset = viewer.get_by_label("Window preset")
    preset.select_option("File's own")
    assert written(viewer, "original", "window") == "W 800  L 400  file's own"
    press(viewer, "l")
    drawn(viewer)
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


def test_auto_looks_at_the_region_in_view(viewer):
    press(viewer, *["+"] * 12, *["Shift+ArrowRight"] * 10, "a")
    width, level = numbers(written(viewer, "original", "window"))
    assert width < 90  # a part of the fading brain
    assert level > 310  # its brighter side


def test_dragging_changes_one_window_for_original_and_reconstruction(viewer):
    away(viewer)
    names = ("original", "translated", "reconstructed")
    fresh = {name: statistics(viewer, name) for name in names}
    drag(viewer, centre(viewer, "original"), (-100, 90))
    away(viewer)
    changed = {name: statistics(viewer, name) for name in names}
    assert changed["original"] != fresh["original"]
    assert changed["reconstructed"] != fresh["reconstructed"]
    assert changed["translated"] == fresh["translated"]
    tool(viewer, "reset")
    away(viewer)
    assert {name: statistics(viewer, name) for name in names} == fresh
    tool(viewer, "zoomIn")
    tool(viewer, "pan")
    zoomed = {name: statistics(viewer, name) for name in names}
    assert all(zoomed[name] != fresh[name] for name in names)  # linked
    drag(viewer, centre(viewer, "original"), (40, 25))
    away(viewer)
    assert all(statistics(viewer, name) != zoomed[name] for name in names)


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


def test_layouts_have_a_key_each_and_the_choice_is_kept(viewer):
    assert shown(viewer) == ["original", "translated", "reconstructed"]
    press(viewer, "4")
    assert shown(viewer) == ["original", "translated", "reconstructed", "cycleError"]
    press(viewer, "2")
    assert shown(viewer) == ["original", "translated"]
    show(viewer, 0, "Cycle error")  # in place of the original
    assert shown(viewer) == ["cycleError", "translated"]
    show(viewer, 0, "Synthetic T2")  # they change places
    assert shown(viewer) == ["translated", "cycleError"]
    canvas(viewer, "cycleError").dblclick()
    assert shown(viewer) == ["cycleError"]
    canvas(viewer, "cycleError").dblclick()
    assert shown(viewer) == ["translated", "cycleError"]
    press(viewer, "f")
    viewer.wait_for_function("document.fullscreenElement?.matches('.viewer')")
    press(viewer, "f")
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
def test_the_images_fill_the_window_whatever_is_open(opened, size, least, count):
    real = {"label": "real.png", "contrast": "T2", "registered": True, "notes": [], "warning": None}
    series = [{"number": n, "label": f"AX T{n + 1} TSE", "slices": 24} for n in range(2)]
    several = {"series": series, "companion": {"label": "AX T2 TSE"}}
    for made in (Made(slices=1), Made(24), Made(24, **several), Made(24, **several, real=real)):
        page = opened(made, viewport=dict(zip(("width", "height"), size, strict=True)))
        drawn(page)
        assert page.locator(".panel:visible").count() == count
        assert page.evaluate(SHARE) >= least
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.evaluate("document.documentElement.scrollHeight") <= size[1]
        if size[0] >= 1100:
            assert page.locator("#top").bounding_box()["height"] <= 48
            tops = {panel.bounding_box()["y"] for panel in page.locator(".panel:visible").all()}
            assert len(tops) == 1  # side by side
        page.context.close()


# Comparing.


def test_two_images_blink_in_one_place_and_the_label_says_which(viewer):
    press(viewer, "2", "1")
    show(viewer, 0, "Original T1")
    away(viewer)
    own, other = row(viewer, "original"), None
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
    for hold, release in (
        (
            lambda: button.focus() or viewer.keyboard.down("Space"),
            lambda: viewer.keyboard.up("Space"),
        ),
        (lambda: button.hover() or viewer.mouse.down(), viewer.mouse.up),
    ):
        hold()
        viewer.wait_for_timeout(400)
        assert shown(viewer) == ["translated", "original"]
        release()
        assert shown(viewer) == ["original", "translated"]


def test_a_line_swipes_and_one_image_lies_over_the_other(viewer):
    press(viewer, "2")
    away(viewer)
    own, other = reds(viewer, "original"), reds(viewer, "translated")
    press(viewer, "s")
    x, y = centre(viewer, "original")
    viewer.mouse.move(x - 60, y)
    swiped = reds(viewer, "original")
    at = len(own) // 2 - 60
    assert swiped[: at - 12] == own[: at - 12]
    assert swiped[at + 20 :] == other[at + 20 :]
    press(viewer, "]")
    assert reds(viewer, "original") != swiped
    press(viewer, "o")
    away(viewer)
    viewer.get_by_label("Opacity of the overlay").fill("25")
    away(viewer)
    mixed = reds(viewer, "original")
    assert max(abs(m - 0.75 * a - 0.25 * b) for m, a, b in zip(mixed, own, other, strict=True)) < 4
    press(viewer, "]")
    assert viewer.get_by_label("Opacity of the overlay").input_value() == "30"
    press(viewer, "o")
    assert reds(viewer, "original") == own


# From slice to slice.


def test_every_slice_is_here_before_it_is_asked_for_and_each_looks_different(opened):
    made = Made(slices=8, size=64)
    page = opened(made)
    page.wait_for_timeout(100)
    deadline = 100
    while len(made.asked) < 25 and deadline:
        page.wait_for_timeout(50)
        deadline -= 1
    asked = [path for path in made.asked if "uncertainty" not in path]
    assert sorted(asked) == sorted(
        f"0/{name}/{at}" for name in ("original", "translated", "reconstructed") for at in range(8)
    )
    assert made.asked[0] == "0/original/4"  # the one on screen
    press(page, "Home")
    away(page)
    seen = []
    for at in range(8):
        assert index(page) == at
        assert page.locator(".scrubber output").inner_text() == f"{at + 1}\nof 8"
        seen.append(tuple(statistics(page, name)[2] for name in ("original", "translated")))
        page.keyboard.press("ArrowDown")
    assert len(set(seen)) == 8
    assert len({*made.asked}) == len(made.asked)  # nothing twice
    canvas(page, "translated").hover()
    page.mouse.wheel(0, -100)
    assert index(page) == 6
    page.locator(".scrubber input").focus()
    page.keyboard.press("Home")
    assert index(page) == 0


def test_no_older_image_stands_under_a_new_number(opened):
    made = Made(slices=8, size=64, ready=[[4, 4]], translating=True)
    page = opened(made)
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


# Measuring.


def pixel(page, name="original"):
    """CSS pixels of one pixel of the 128."""
    box = canvas(page, name).bounding_box()
    return min(box["width"], box["height"]) / 128 / 1.06


def test_measures_are_drawn_moved_undone_and_stay_with_their_slice(viewer):
    away(viewer)
    bare = statistics(viewer, "original")
    (x, y), size = centre(viewer, "original"), pixel(viewer)
    tool(viewer, "ruler")
    drag(viewer, (x, y), (30 * size, 40 * size))
    spoken(viewer, r"^Ruler (99|100)\.\d mm")  # 50 pixels of 2 mm
    drag(viewer, (x + 30 * size, y + 40 * size), (0, -40 * size))  # its end
    spoken(viewer, r"^Ruler (59|60)\.\d mm")
    tool(viewer, "region")
    drag(viewer, (x - 10 * size, y + 20 * size), (10 * size, 0))
    # 314 pixels of 4 mm² in the drawn brain.
    spoken(viewer, r"Original T1 29\d ± \d, 12\d\d mm², Synthetic T2 0\.70\d ± 0\.00\d, 12\d\d mm²")
    away(viewer)
    both = statistics(viewer, "original")
    press(viewer, "ArrowDown", "ArrowUp")
    assert statistics(viewer, "original") == both
    press(viewer, "ArrowUp")
    away(viewer)
    other = statistics(viewer, "original")
    press(viewer, "Shift+Delete")
    away(viewer)
    assert statistics(viewer, "original") == other  # they were not on this slice
    press(viewer, "z", "ArrowDown")
    away(viewer)
    assert statistics(viewer, "original") == both
    press(viewer, "Delete", "Delete")
    away(viewer)
    assert statistics(viewer, "original") == bare


def test_measures_are_listed_gone_to_and_copied_as_a_table(opened, made):
    page = opened(made, permissions=["clipboard-read", "clipboard-write"])
    assert not page.locator("[data-tool=measures]").is_visible()
    (x, y), size = centre(page, "original"), pixel(page)
    tool(page, "region")
    drag(page, (x, y), (10 * size, 0))
    press(page, "ArrowDown")
    tool(page, "ruler")
    drag(page, (x, y), (20 * size, 0))
    tool(page, "measures")
    entries = page.locator(".measures .entry")
    assert [entry.splitlines()[1] for entry in entries.all_inner_texts()] == ["slice 2", "slice 3"]
    page.locator("[data-do=copyMeasures]").click()
    page.locator("[data-do=copyMeasures]", has_text="Copied").wait_for()
    head, region, ruler = page.evaluate("navigator.clipboard.readText()").split("\n")
    assert head.split("\t")[3:5] == ["Original T1 mean", "Original T1 deviation"]
    assert abs(float(region.split("\t")[3]) - 310) < 3  # of 1000, though slice 3 is on screen
    assert ruler.startswith("Ruler\tslice 3\t")
    entries.nth(0).click()
    assert index(page) == 1
    page.locator("[data-do=removeAll]").click()
    drawn(page)
    assert not page.locator("[data-tool=measures]").is_visible()


def test_a_map_lies_over_the_anatomy_where_there_is_error(viewer):
    away(viewer)
    plain = {name: row(viewer, name, 0.5) for name in ("original", "reconstructed")}
    press(viewer, "e")
    away(viewer)
    assert viewer.get_by_label("Map over the images").input_value() == "cycleError"
    over = row(viewer, "original", 0.5)
    assert row(viewer, "reconstructed", 0.5) == plain["reconstructed"]
    middle = len(over) // 2 + 20
    red, green, _ = over[middle]
    assert red > green + 10  # the map's colour, where the way back differs
    assert plain["original"][middle][0] == plain["original"][middle][1]
    assert over[20] == plain["original"][20]  # air
    viewer.get_by_label("Opacity of the map").fill("0")
    away(viewer)
    assert row(viewer, "original", 0.5)[middle] == plain["original"][middle]


def test_the_view_is_saved_as_it_is_seen_and_says_what_it_is(viewer):
    away(viewer)
    (x, y), size = centre(viewer, "original"), pixel(viewer)
    tool(viewer, "ruler")
    drag(viewer, (x, y), (20 * size, 0))
    away(viewer)
    with viewer.expect_download() as download:
        viewer.keyboard.press("v")
    assert download.value.suggested_filename == "synthetic_T2_view_slice2.png"
    with Image.open(download.value.path()) as image:
        assert "not for diagnosis" in image.text["Caveat"]
        box = viewer.locator(".grid").bounding_box()
        assert image.size == (round(box["width"]), round(box["height"]) + 24)
        pixels = np.asarray(image.convert("RGB"))
    seen = np.array(row(viewer, "translated"))
    second = viewer.locator(".panel").nth(1).bounding_box()
    left, at = round(second["x"] - box["x"]), round(second["height"] * 0.62)
    saved = pixels[at, left : left + len(seen)]
    assert np.abs(saved.astype(int) - seen).mean() < 3
    label = pixels[:40, left : left + 300].astype(int)
    assert ((label[..., 0] > 180) & (label[..., 2] < 0.6 * label[..., 0])).sum() > 50  # amber
    viewer.keyboard.press("0")
    for _ in range(4):
        viewer.keyboard.press("-")  # smaller than its own pixels
    viewer.set_viewport_size({"width": 420, "height": 700})
    drawn(viewer)
    with viewer.expect_download() as download:
        viewer.keyboard.press("v")
    with Image.open(download.value.path()) as image:
        assert abs(image.size[0] - 2 * viewer.locator(".grid").bounding_box()["width"]) < 2


def test_measures_are_drawn_by_key(viewer):
    canvas(viewer, "original").focus()
    for key in ("c", "m", "Shift+ArrowRight"):
        viewer.keyboard.press(key)
    spoken(viewer, r"^Ruler 20\.0 mm")
    viewer.keyboard.press("m")
    viewer.keyboard.press("Escape")
    spoken(viewer, "Cross-hair off")


def test_a_value_stands_under_the_cross_hair_with_its_interval_and_place(viewer):
    viewer.wait_for_selector(".trust:visible span:has-text('anatomy match 1.21')")
    drawn(viewer)
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
    left, right = [
        sum(a != b for a, b in list(zip(plain, row(viewer, "translated"), strict=True))[half])
        for half in (slice(None, len(plain) // 2), slice(len(plain) // 2, None))
    ]
    assert left > 6  # where the interval is wide
    assert right <= 3


def test_a_real_image_is_compared_and_called_what_it_looks_like(opened):
    real = {"label": "real.png", "contrast": "T2", "registered": True, "notes": [], "warning": None}
    made = Made(slices=1, real=real)
    page = opened(made)
    page.wait_for_selector("[data-panel=real].filled")
    assert shown(page) == ["original", "translated", "real"]
    press(page, "4")
    assert shown(page) == ["original", "translated", "reconstructed", "real"]
    show(page, 2, "True error")
    away(page)
    # The real image is darker by a tenth of the range: the true error is orange there.
    colours = row(page, "trueError", 0.5)
    red, green, blue = colours[len(colours) // 2 + 10]
    assert red > green > blue
    made.change(real=real | {"contrast": "T1", "warning": "It looks like T1."})
    title = page.locator("[data-panel=real] option:checked")
    title.filter(has_text="Compared image, looks like T1").wait_for(state="attached")
    page.locator(".trust:visible").click()
    assert "It looks like T1." in page.locator("#menu-trust").inner_text()


# Planes.


def test_planes_through_the_volume_share_a_cross_hair(viewer):
    press(viewer, "p")
    panels = viewer.locator(".panel:visible")
    assert panels.count() == 6
    words = panels.nth(1).locator("canvas").get_attribute("aria-label")
    assert words.startswith("Original slice, coronal plane, column 65, row 65 · ")

    def looks():
        drawn(viewer)
        return viewer.evaluate(
            """() => [...document.querySelectorAll(".panel canvas")]
              .filter((e) => e.checkVisibility()).map((canvas) =>
                canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
                  .reduce((sum, v, i) => (sum * 31 + v * (1 + (i % 7))) % 1000003, 7))"""
        )

    away(viewer)
    before = looks()
    assert len(set(before)) == 6
    box = panels.nth(1).bounding_box()
    drag(viewer, (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2), (60, -40))
    away(viewer)
    assert all(a != b for a, b in zip(before, looks(), strict=True))
    assert index(viewer) == 2  # towards the head
    assert "column 6" not in panels.nth(4).locator("canvas").get_attribute("aria-label")
    press(viewer, "2")
    assert shown(viewer) == ["original", "translated"]


# Fingers.


@pytest.fixture
def phone(opened, made):
    return opened(made, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)


def touch(page, *fingers, hold=0):
    """Move fingers, a list of points each; `hold` ms between the first touch and the first move."""
    client = page.context.new_cdp_session(page)

    def send(kind, points):
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", [finger[0] for finger in fingers])
    page.wait_for_timeout(hold)
    for points in list(zip(*fingers, strict=True))[1:]:
        send("touchMove", points)
    send("touchEnd", [])
    drawn(page)


def at(point, *moves):
    return [(point[0] + dx, point[1] + dy) for dx, dy in moves]


def test_one_finger_goes_through_slices_two_zoom_and_one_that_rests_sets_the_window(phone):
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


def test_on_a_telephone_targets_fit_a_finger_and_tools_stay_while_the_image_does(phone):
    small = phone.evaluate(
        """[...document.querySelectorAll(":is(.tools, .scrubber, #top) :is(button, select, label)")]
          .filter((e) => e.checkVisibility({ opacityProperty: true }) && !e.matches(".skip"))
          .map((e) => [e.outerHTML.slice(0, 60), e.getBoundingClientRect()])
          .filter(([, box]) => box.width < 27 || box.height < 40).map(([html]) => html)"""
    )
    assert small == []
    assert phone.locator("[data-tool=window]").bounding_box()["y"] < 844
    assert phone.evaluate("document.documentElement.scrollHeight") <= 844
