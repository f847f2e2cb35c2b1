"""Window and level on the viewer alone: what they open with, presets, and what touch may change."""

import pytest
from alone import open_viewer
from frames import wait_until_drawn

FLICK = [(0, 0), (0, -40), (0, -90), (0, -150), (0, -220)]


@pytest.fixture
def page(chromium):
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    open_viewer(page)
    yield page
    context.close()


@pytest.fixture
def phone(chromium):
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    open_viewer(page)
    yield page
    context.close()


def window(page, name="original"):
    wait_until_drawn(page)
    return page.inner_text(f"[data-panel={name}] .corner-window")


def numbers(text):
    """Width and level out of "W 240  L 300"."""
    return [float(word) for word in text.split()[1:4:2]]


def centre(page, name="original"):
    box = page.locator(f"[data-panel={name}] canvas").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_it_opens_at_a_window_of_the_brain_in_the_files_own_units(page):
    # The drawn brain has 240 to 380 of 1000, its inner part 260 to 360, and its scalp 950.
    brain, level = numbers(window(page))
    assert 90 < brain < 140
    assert 280 < level < 340
    width, level = numbers(window(page, "translated"))  # has no units: shares
    assert 0.09 < width < 0.14
    assert 0.66 < level < 0.72

    page.locator("[data-do=preset]").select_option("File's own")
    assert window(page) == "W 800  L 400  file's own"
    page.locator("[data-panel=original] canvas").press("l")
    assert window(page) == "W 800  L 450"  # not the file's any more
    page.locator("[data-do=preset]").select_option("Full range")
    assert window(page) == "W 1000  L 500"
    assert window(page, "translated") == "W 1.00  L 0.50"
    page.locator("[data-do=preset]").select_option("High contrast")
    assert numbers(window(page))[0] < brain
    page.get_by_role("button", name="Reset", exact=True).click()
    assert numbers(window(page))[0] == brain


def test_auto_looks_at_the_region_in_view(page):
    canvas = page.locator("[data-panel=original] canvas")
    for _ in range(12):
        canvas.press("+")
    for _ in range(10):
        canvas.press("Shift+ArrowRight")
    canvas.press("a")
    width, level = numbers(window(page))
    assert width < 90  # a part of the fading brain
    assert level > 310  # its brighter side


def test_the_right_button_zooms_and_opens_no_menu_and_invert_turns_white_to_black(page):
    grey = """() => {
      const canvas = document.querySelector("[data-panel=original] canvas");
      const { data } = canvas.getContext("2d").getImageData(canvas.width / 2, 99, 1, 1);
      return data[0];
    }"""
    page.evaluate(
        """document.addEventListener("contextmenu", (event) => {
          window.menu = !event.defaultPrevented;
        })"""
    )
    before, air = window(page), page.evaluate(grey)
    page.mouse.move(*centre(page))
    page.mouse.down(button="right")
    x, y = centre(page)
    page.mouse.move(x, y - 100, steps=3)
    page.mouse.up(button="right")
    assert page.evaluate("window.menu") is not True
    assert window(page) == before
    assert "Zoom 1" in page.inner_text(".viewer-spoken") or page.wait_for_function(
        "document.querySelector('.viewer-spoken').textContent.startsWith('Zoom 1')"
    )
    page.get_by_role("button", name="Reset", exact=True).click()
    page.get_by_role("button", name="Invert").click()
    wait_until_drawn(page)
    assert (air, page.evaluate(grey)) == (0, 255)


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
    wait_until_drawn(page, after=200)


def at(point, *moves):
    return [(point[0] + dx, point[1] + dy) for dx, dy in moves]


def test_a_flick_scrolls_and_only_a_finger_that_rests_sets_the_window(phone):
    fresh = window(phone)
    before = phone.evaluate("window.scrollY")
    touch(phone, at(centre(phone), *FLICK))
    assert phone.evaluate("window.scrollY") > before + 50
    assert window(phone) == fresh

    phone.evaluate("window.scrollTo(0, 0)")
    touch(phone, at(centre(phone), (0, 0), (30, -20), (60, -40)), hold=700)
    assert window(phone) != fresh
    assert phone.evaluate("window.scrollY") == 0

    resting = window(phone)
    point = centre(phone)
    touch(phone, at(point, (-20, 0), (-50, 0), (-80, 0)), at(point, (20, 0), (50, 0), (80, 0)))
    phone.wait_for_function(
        "/Zoom [2-9]/.test(document.querySelector('.viewer-spoken').textContent)"
    )
    assert window(phone) == resting


def test_on_a_telephone_images_fill_the_screen_and_targets_fit_a_finger(phone):
    stages = phone.locator(".panel-stage:visible").all()
    boxes = [stage.bounding_box() for stage in stages]
    assert sum(box["width"] * box["height"] for box in boxes) > 0.65 * 390 * 844
    assert all(box["y"] + box["height"] <= 844 for box in boxes)
    small = phone.evaluate(
        """[...document.querySelectorAll(".viewer :is(button, select, input)")]
          .filter((e) => e.checkVisibility())
          .map((e) => [e.outerHTML.slice(0, 60), e.getBoundingClientRect()])
          .filter(([, box]) => box.width < 40 || box.height < 40).map(([html]) => html)"""
    )
    assert small == []
    scrubber = phone.locator(".scrubber input").bounding_box()
    edge = scrubber["x"] + scrubber["width"] / 2, scrubber["y"] + scrubber["height"] / 2
    touch(phone, at(edge, (0, 0), (0, scrubber["height"] / 3), (0, scrubber["height"] / 2 - 2)))
    phone.wait_for_selector(".viewer[data-index='2']")
