"""The page for readers without a mouse, with a screen reader, large text or own colours."""

import json

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from cyclegan.phantom import draw_slice
from cyclegan.simulate import simulate_pair

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
THEMES = ["light", "dark"]

# What axe leaves undecided: text over images and over other parts. The smallest contrast of each of
# the elements against what may lie behind it, an image being white or black.
CONTRASTS = """(selector) => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[0-9.]+/g).map(Number);
    return { rgb: [r, g, b], a };
  };
  const over = (top, below) => top.rgb.map((c, i) => c * top.a + below[i] * (1 - top.a));
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      if (e.matches(".panel-stage.panel-stage") && e.closest(".filled")) {
        return [[0, 0, 0], [255, 255, 255]]
          .map((base) => layers.reduceRight((b, l) => over(l, b), base));
      }
      const layer = parse(getComputedStyle(e).backgroundColor);
      layers.push(layer);
      if (layer.a === 1) break;
    }
    return [layers.reduceRight((b, l) => over(l, b), [255, 255, 255])];
  };
  return [...document.querySelectorAll(selector)]
    .filter((e) => e.checkVisibility() && e.textContent.trim())
    .map((e) => {
      const ink = parse(getComputedStyle(e).color);
      const worst = Math.min(...behind(e).map((ground) => contrast(over(ink, ground), ground)));
      return [e.className + " " + e.textContent.slice(0, 30), worst];
    });
}"""

# The element that has the keys: a name, what its ring looks like with and without, its contrast.
FOCUSED = """() => {
  const element = document.activeElement;
  const chain = [];
  for (let e = element; e && chain.length < 5; e = e.parentElement) chain.push(e);
  const ring = (e) => {
    const style = getComputedStyle(e);
    const drawn = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    return drawn ? style.outlineColor + "|" + style.outlineOffset : "";
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map(Number).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const focused = chain.map(ring);
  element.blur();
  const blurred = chain.map(ring);
  const contrasts = chain.map((e, i) => {
    if (!focused[i] || focused[i] === blurred[i]) return 0;
    const [colour, offset] = focused[i].split("|");
    const inside = parseFloat(offset) < 0;
    const both = [luminance(colour), luminance(ground(inside ? e : e.parentElement))];
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  });
  element.focus();
  element.dataset.visited = "true";
  const name = element.getAttribute("aria-label") || element.value || element.innerText;
  return [element.tagName + " " + name, Math.max(...contrasts)];
}"""

# Text that is cut off, or that sticks out of the part it belongs to.
CUT_OFF = """() => [...document.querySelectorAll("main *")]
  .filter((e) => e.checkVisibility() && !e.closest(".unseen, .sr-only, [class*=sr-only]"))
  .filter((e) => e.matches("input[type=number]") ||
    [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
  .filter((e) => {
    const box = e.getBoundingClientRect();
    const hides = getComputedStyle(e).overflow !== "visible";
    const cut = hides && (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1);
    return cut || box.right > document.documentElement.clientWidth + 1 || box.left < -1 ||
      (["BUTTON", "INPUT"].includes(e.tagName) &&
        (e.scrollHeight > e.clientHeight + 2 || e.scrollWidth > e.clientWidth + 1));
  })
  .map((e) => e.tagName + " " + e.className + " " + e.textContent.trim().slice(0, 40))"""


@pytest.fixture
def opened(chromium, url):
    """A function that opens the page in a new context with the given properties."""
    contexts = []

    def open_page(**properties):
        context = chromium.new_context(
            **{"viewport": {"width": 1400, "height": 900}, **properties},
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)  # two busy cores
        page.goto(url)
        page.wait_for_selector(".viewer[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def real_t2(tmp_path_factory):
    """An image that the single-slice examples can be compared with: 256 x 256."""
    path = tmp_path_factory.mktemp("files") / "real.png"
    pixels = simulate_pair(draw_slice(27, level=0.5), np.random.default_rng(27)).t2
    Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8)).save(path)
    return path


def example(page, name):
    before = page.get_attribute(".viewer", "data-key")
    page.get_by_role("button", name=name, exact=True).click()
    page.locator(f".viewer[data-found=all]:not([data-key='{before}'])").wait_for()


def violations(page, state):
    """What axe finds, one line each."""
    page.wait_for_timeout(300)  # Gradio fades
    found = Axe().run(page, options={"runOnly": RULES}).response["violations"]
    return [
        f"{state}: {rule['id']} ({rule['impact']}) {node['target']} {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("theme", THEMES)
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

    example(page, "Simulated T1")
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

    page.get_by_role("button", name="NIfTI", exact=True).click()
    page.get_by_text("Saved synthetic").wait_for()
    found += violations(page, "downloads")

    example(page, "T1 volume")
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


@pytest.mark.parametrize("theme", THEMES)
def test_every_tab_stop_is_reached_and_shows_it(opened, theme):
    page = opened(color_scheme=theme, reduced_motion="reduce")  # no ring half-way
    example(page, "T1 volume")
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
        page.wait_for_timeout(100)
        return page.inner_text("[data-panel=original] .corner-window")

    fresh = window()
    page.keyboard.press("w")
    narrow = window()
    assert narrow != fresh
    spoken(page, "Window 1.05, level 0.50")
    page.keyboard.press("Shift+L")
    assert window() not in (fresh, narrow)
    spoken(page, "level 0.45")

    def corner():
        page.wait_for_timeout(100)
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

    tab_to(page, "[data-panel=difference] canvas")
    before = page.inner_text(".colour-ticks")
    page.keyboard.press("w")
    spoken(page, "Colours up to")
    assert page.inner_text(".colour-ticks") != before
    tab_to(page, "#slice input[type=range]")
    page.keyboard.press("Home")
    page.wait_for_selector(".viewer[data-index='0']")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
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
    assert download.value.suggested_filename == "synthetic_T1_slice13.png"


def test_both_maps_are_chosen_by_key(opened):
    page = opened()
    example(page, "Simulated T1")
    canvas = page.locator("[data-panel=difference] canvas")
    assert "cycle error, not translation error" in canvas.get_attribute("aria-label")
    press_on(page, "Uncertainty")
    page.wait_for_selector("[data-map=uncertainty][aria-pressed=true]")
    assert "uncertainty" in canvas.get_attribute("aria-label")
    press_on(page, "Translate")  # round the page
    press_on(page, "Cycle error")
    page.wait_for_selector("[data-map=cycle][aria-pressed=true]")


def test_what_changes_is_announced_and_what_it_is_told(opened):
    page = opened()
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.title() == "T1 ↔ T2 brain MRI translation"
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("radiogroup", name="Direction").get_by_role("radio").count() == 2
    assert page.get_by_role("region", name="Linked image viewer").count() == 1
    for line in ("status", "notice", "saved"):
        assert page.get_attribute(f"#{line}", "aria-live") == "polite"
    example(page, "T1 volume")
    page.get_by_role("button", name="All 24 slices").click()
    # Counted every few hundred milliseconds: to be looked at, not to be read out each time.
    page.wait_for_selector("#status [aria-live=off] progress[aria-label]")
    page.wait_for_selector("#status [role=status]:has-text('all 24 slices')")
    names = page.locator(".viewer-panels canvas").evaluate_all("all => all.map((e) => e.ariaLabel)")
    assert all(name.endswith(", axial slice 13 of 24") for name in names)
    assert len(set(names)) == 4


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
    example(page, "T1 volume")
    page.get_by_role("button", name="All 24 slices").click()
    page.wait_for_selector("#status progress")
    assert page.evaluate(moving) == []
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="I have the real T2").click()
    page.wait_for_timeout(300)
    assert page.evaluate(moving) == []
    assert page.evaluate("[...new Set(window.moved)]") == []


def test_the_readers_own_colours_keep_what_matters(opened):
    page = opened(forced_colors="active", reduced_motion="reduce")
    example(page, "T1 volume")
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
    band, gauge = page.evaluate(style, ".gauge i"), page.evaluate(style, ".gauge")
    assert band != gauge
    assert "gradient" in json.loads(page.evaluate(style, ".colour-ramp"))[1]
    page.keyboard.press("Tab")
    page.locator("button[data-tool=pan]").focus()
    assert page.evaluate(FOCUSED)[1] >= 3


@pytest.mark.parametrize(("width", "text"), [(320, 100), (1280, 200), (390, 200)])
def test_narrow_screens_and_large_text_lose_nothing(opened, width, text):
    page = opened(viewport={"width": width, "height": 900})
    page.add_style_tag(content=f"html {{ font-size: {text}% }}")
    example(page, "T1 volume")
    page.get_by_text("What this shows, and what it does not").click()
    page.get_by_text("Mouse, touch and keys").click()
    page.get_by_role("button", name="I have the real T2").click()
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT_OFF) == []
