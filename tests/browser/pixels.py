"""What is painted, and what is written beside it."""

from __future__ import annotations

from playwright.sync_api import Page

DEVICES = {
    "desk": {"viewport": {"width": 1440, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
PANEL = """(name) => [...document.querySelectorAll(`[data-panel=${name}] canvas`)]
  .find((each) => each.checkVisibility())"""
STATISTICS = f"""(name) => {{
  const canvas = ({PANEL})(name);
  const {{ width, height }} = canvas;
  const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  let [sum, squares, hash] = [0, 0, 7];
  for (let i = 0; i < data.length; i += 4) {{
    sum += data[i];
    squares += data[i] * data[i];
    hash = (hash * 31 + data[i] * (1 + (i % 7)) + data[i + 2]) % 1000003;
  }}
  const mean = sum / (width * height);
  return [mean, Math.sqrt(squares / (width * height) - mean * mean), hash];
}}"""
# The colours of a row of the panel's canvas, at a share of its height; by default below all labels.
ROW = f"""([name, share]) => {{
  const canvas = ({PANEL})(name);
  const {{ data }} = canvas.getContext("2d")
    .getImageData(0, Math.round(canvas.height * share), canvas.width, 1);
  return Array.from({{ length: canvas.width }}, (_, i) => [...data.slice(4 * i, 4 * i + 3)]);
}}"""
# How many pixels of the label are amber, which is what a model made.
AMBER = f"""(name) => {{
  const canvas = ({PANEL})(name);
  const {{ data }} = canvas.getContext("2d").getImageData(0, 0, canvas.width / 2, 32);
  return data.filter((v, i) => i % 4 === 0 && v > 180 && data[i + 2] < 0.6 * v).length;
}}"""
# Of the window that is image, in per cent.
SHARE = """() => [...document.querySelectorAll(".panel")].filter((e) => e.checkVisibility())
  .map((e) => e.getBoundingClientRect())
  .reduce((sum, { left, top, right, bottom }) => sum +
    Math.max(0, Math.min(right, innerWidth) - Math.max(left, 0)) *
    Math.max(0, Math.min(bottom, innerHeight) - Math.max(top, 0)), 0) /
  innerWidth / innerHeight * 100"""
SHOWN = """() => [...document.querySelectorAll(".panel")].filter((e) => e.checkVisibility())
  .map((e) => e.dataset.shows)"""


def drawn(page: Page) -> None:
    """Wait until what has happened is painted."""
    page.evaluate(DRAWN)


def away(page: Page) -> None:
    """Take the pointer off the images: no cross-hair in the pixels."""
    page.mouse.move(5, 5)
    drawn(page)


def statistics(page: Page, name: str) -> list[float]:
    """Mean and spread of the panel's red channel, and a number that any change changes."""
    drawn(page)
    return page.evaluate(STATISTICS, name)


def row(page: Page, name: str, share: float = 0.62) -> list[list[int]]:
    """Red, green and blue along a row of the panel."""
    drawn(page)
    return page.evaluate(ROW, [name, share])


def reds(page: Page, name: str, share: float = 0.62) -> list[int]:
    """Red along a row of the panel."""
    return [red for red, _, _ in row(page, name, share)]


def amber(page: Page) -> int:
    """How many pixels of the label of the panel of the original say that a model made it."""
    drawn(page)
    return page.evaluate(AMBER, "original")


def shown(page: Page) -> list[str]:
    """Names of the images on screen, in their order."""
    drawn(page)
    return page.evaluate(SHOWN)


def canvas(page: Page, name: str):
    """The panel's canvas."""
    return page.locator(f"[data-panel={name}] canvas:visible").first


def written(page: Page, name: str, what: str) -> str:
    """What is written in the panel's pixels: its "window" or its "value"."""
    drawn(page)
    return canvas(page, name).get_attribute(f"data-{what}")


def press(page: Page, *keys: str) -> None:
    """Press keys, the focus on an image."""
    page.locator(".panel canvas:visible").first.focus()
    for key in keys:
        page.keyboard.press(key)
    drawn(page)


def tool(page: Page, name: str) -> None:
    """Press a tool's button."""
    page.locator(f"[data-tool={name}]").first.click()
    drawn(page)


def centre(page: Page, name: str) -> tuple[float, float]:
    """The middle of a panel, in CSS pixels of the window."""
    box = canvas(page, name).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Page, start: tuple[float, float], by: tuple[float, float], **options: str) -> None:
    """Press at a point, move by so much, and release."""
    page.mouse.move(*start)
    page.mouse.down(**options)
    page.mouse.move(start[0] + by[0], start[1] + by[1], steps=3)
    page.mouse.up(**options)
    drawn(page)


def touch(page: Page, *fingers: list[tuple[float, float]], hold: int = 0) -> None:
    """Move fingers from point to point; `hold` ms between the first touch and the first move."""
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


def stroke(page: Page, start: tuple[float, float], by: tuple[float, float]) -> None:
    """Draw a line with what the device has: mouse or finger."""
    if not page.is_phone:
        return drag(page, start, by)
    touch(page, [(start[0] + by[0] * step / 3, start[1] + by[1] * step / 3) for step in range(4)])


def index(page: Page) -> int:
    """The slice on screen."""
    drawn(page)
    return int(page.get_attribute(".viewer", "data-index"))


def pixel(page: Page, name: str = "original") -> float:
    """CSS pixels of one pixel of a slice of 128 x 128."""
    box = canvas(page, name).bounding_box()
    return min(box["width"], box["height"]) / 90 / 1.06  # what the head takes of it


def choose_image(page: Page, position: int, name: str) -> None:
    """Have panel `position`, from 0, show the image called `name`."""
    page.locator(".panel-name select").nth(position).select_option(label=name)
    drawn(page)


def spoken(page: Page, words: str) -> None:
    """Wait until a screen reader is told something that matches `words`, a regular expression."""
    page.wait_for_function(
        "(words) => new RegExp(words).test(document.querySelector('.viewer-spoken').textContent)",
        arg=words,
    )


def says(page: Page, words: str) -> None:
    """Wait until the status line has words that match `words`, a regular expression."""
    page.wait_for_function(
        "(words) => new RegExp(words).test(document.querySelector('.line .status').textContent)",
        arg=words,
    )
