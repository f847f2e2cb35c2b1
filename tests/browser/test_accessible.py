"""The page for users without a mouse, with a screen reader, large text or own colours."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from files import drop, give, png
from made import REAL, SERIES, Made
from pixels import away, centre, drag, drawn, press, tool

# WCAG 2.2's relative luminance and contrast ratio of colours as the browser computes them.
COLOURS = """
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[0-9.]+/g).map(Number);
    return { rgb: [r, g, b], a };
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };"""

# What axe leaves undecided: text over images and over other parts. The smallest contrast of each of
# the elements against what may lie behind it, an image being white or black.
CONTRASTS = f"""(selector) => {{{COLOURS}
  const over = (top, below) => top.rgb.map((c, i) => c * top.a + below[i] * (1 - top.a));
  const behind = (element) => {{
    const layers = [];
    for (let e = element; e; e = e.parentElement) {{
      if (e.matches(".panel.filled")) {{
        return [[0, 0, 0], [255, 255, 255]]
          .map((base) => layers.reduceRight((b, l) => over(l, b), base));
      }}
      const layer = parse(getComputedStyle(e).backgroundColor);
      layers.push(layer);
      if (layer.a === 1) break;
    }}
    return [layers.reduceRight((b, l) => over(l, b), [255, 255, 255])];
  }};
  return [...document.querySelectorAll(selector)]
    .filter((e) => e.checkVisibility() && e.textContent.trim())
    .map((e) => {{
      const ink = parse(getComputedStyle(e).color);
      const worst = Math.min(...behind(e).map((ground) => contrast(over(ink, ground), ground)));
      return [e.className + " " + e.textContent.slice(0, 30), worst];
    }});
}}"""

# The element that has the keys: a name, and the contrast of the ring that only its focus draws.
FOCUSED = f"""() => {{{COLOURS}
  const element = document.activeElement;
  const chain = [];
  for (let e = element; e && chain.length < 5; e = e.parentElement) chain.push(e);
  const ring = (e) => {{
    const {{ outlineStyle, outlineWidth, outlineColor, outlineOffset }} = getComputedStyle(e);
    const isDrawn = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
    return isDrawn ? outlineColor + "|" + outlineOffset : "";
  }};
  const ground = (e) => {{
    for (; e; e = e.parentElement) {{
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.a) return colour.rgb;
    }}
    return [255, 255, 255];
  }};
  const focused = chain.map(ring);
  element.blur();
  const contrasts = chain.map((e, i) => {{
    if (!focused[i] || focused[i] === ring(e)) return 0;
    const [colour, offset] = focused[i].split("|");
    return contrast(parse(colour).rgb, ground(parseFloat(offset) < 0 ? e : e.parentElement));
  }});
  element.focus();
  element.dataset.visited = "true";
  const name = element.getAttribute("aria-label") || element.value || element.innerText;
  return [element.tagName + " " + name, Math.max(...contrasts)];
}}"""

# Text that is cut off, or that sticks out of the part it belongs to.
CUT_OFF = """() => [...document.querySelectorAll("main *")]
  .filter((e) => e.checkVisibility() && !e.closest(
    ".unseen, .skip, .sr-only, [class*=sr-only], .sidebar:not(.open), [popover]"))
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

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
STILL = """() => document.getAnimations().every((each) =>
  each.playState !== "running" || each.effect.getComputedTiming().iterations === Infinity)"""
MOVING = """() => [...document.querySelectorAll("*")].filter((e) => {
  const style = getComputedStyle(e);
  const times = [style.transitionDuration];
  if (style.animationName !== "none") times.push(style.animationDuration);
  return times.join().split(",").some((time) => parseFloat(time) > 0);
}).map((e) => e.tagName + " " + e.className)"""


def violations(page, state):
    """What axe finds, one line each."""
    drawn(page)
    page.wait_for_function(STILL)
    options = {"runOnly": RULES, "resultTypes": ["violations"]}  # what passes takes longer to list
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{state}: {rule['id']} ({rule['impact']}) {node['target']} {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
def test_axe_finds_nothing_in_any_state(opened, theme, width):
    context = {"color_scheme": theme, "viewport": {"width": width, "height": 900}}
    page = opened(**context)
    assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
    found = violations(page, "example")
    drop(page, {"report.txt": b"Findings: none."})
    page.wait_for_selector(".line .status.wrong")
    found += violations(page, "error sentence")
    give(page, lambda: drop(page, {"slice.png": png()}))
    page.wait_for_selector("[data-panel=translated].filled")
    page.locator("#direction label", has_text="→ T1").click()
    page.get_by_role("button", name="Translate anyway").wait_for()
    found += violations(page, "halted")
    page.locator("#side .toggle-button").click()
    found += violations(page, "side panel")
    page.context.close()

    made = Made(5, series=SERIES, companion={"label": "AX T2"}, ready=[[2, 3]], translating=True)
    page = opened(made, **context)
    found += violations(page, "translating")
    tool(page, "ruler")
    drag(page, centre(page, "original"), (30, 20))
    found += violations(page, "measuring")
    for menu in ("open", "series", "save", "trust", "measures", "help"):
        page.locator(f"[popovertarget=menu-{menu}]:visible").first.click()
        box = page.locator(f"#menu-{menu}").bounding_box()
        assert min(box["x"], box["y"]) >= 0, menu  # all of it is within reach
        assert box["x"] + box["width"] <= width, menu
        assert box["y"] + box["height"] <= 900, menu
        found += violations(page, menu)
        page.keyboard.press("Escape")
    made.change(real=REAL, ready=[[0, 4]], translating=False)
    press(page, "4")
    page.wait_for_selector("[data-panel=real].filled")
    found += violations(page, "four images, the real one among them")
    for keys, state in (("oe", "overlaid, with a map"), ("op", "planes"), ("1", "alone")):
        press(page, *keys)
        found += violations(page, state)
    assert found == []
    text = page.evaluate(CONTRASTS, ".trust, .panel-empty, .line p, .scan-name, .scrubber output")
    assert [(name, ratio) for name, ratio in text if ratio < 4.5] == []


def test_what_changes_is_announced(opened):
    made = Made(24, ready=[[12, 12]], translating=True)
    page = opened(made)
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.title() == "T1 ↔ T2 brain MRI translation"
    for role, name in (("main", None), ("region", "Images of the scan"), ("toolbar", None)):
        assert page.get_by_role(role, name=name).count() == 1
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("radio").count() == 2
    assert page.get_by_role("progressbar", name="Progress").count() == 1
    press(page, "4")
    names = page.locator(".panel canvas:visible").evaluate_all("all => all.map((e) => e.ariaLabel)")
    assert all(name.endswith(", axial slice 13 of 24") for name in names)
    assert len(set(names)) == 4
    buttons = page.locator(".tools button:visible")
    assert buttons.evaluate_all("all => all.every((e) => e.ariaLabel && e.title)")
    press(page, "e", "o")
    names = page.locator(":is(.tools, .scrubber) :is(button, select, input):visible")
    names = names.evaluate_all("all => all.map((e) => e.ariaLabel)")
    assert sorted({*names}) == sorted(names)  # each is called something else


def test_reduced_motion_is_respected(opened):
    made = Made(5, ready=[], translating=True)
    made.state["ready"] = [[2, 2]]
    assert opened(made).evaluate(MOVING) != []  # the check sees what there is to see
    page = opened(Made(5, ready=[[2, 2]], translating=True), reduced_motion="reduce")
    assert page.evaluate(MOVING) == []
    page.locator("#side .toggle-button").click()
    drawn(page)
    assert page.evaluate(MOVING) == []


def test_own_colours_keep_what_matters(opened):
    page = opened(Made(5), forced_colors="active", reduced_motion="reduce")
    ground = "(s) => getComputedStyle(document.querySelector(s)).backgroundColor"
    pressed, other = (
        page.evaluate(ground, f".tools button[aria-pressed={state}]") for state in ("true", "false")
    )
    assert pressed != other
    ratios = page.evaluate(CONTRASTS, ".bar button")
    assert [ratio for _, ratio in ratios if ratio < 4.5] == []
    page.keyboard.press("Tab")
    page.locator("button[data-tool=pan]").focus()
    assert page.evaluate(FOCUSED)[1] >= 3


@pytest.mark.parametrize(("width", "text"), [(320, 100), (1280, 200), (390, 200)])
def test_narrow_screens_and_large_text_lose_nothing(opened, width, text):
    page = opened(
        Made(24, series=SERIES, translating=True), viewport={"width": width, "height": 900}
    )
    page.add_style_tag(content=f"html {{ font-size: {text}% }}")
    drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT_OFF) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_tab_stop_is_reached_and_shows_it(opened, theme):
    page = opened(Made(5, series=SERIES), color_scheme=theme, reduced_motion="reduce")
    away(page)
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
        """[...document.querySelectorAll("main :is(button, input, select, canvas, a)")]
          .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.disabled)
          .filter((e) => !e.dataset.visited && !(e.type === "radio" && !e.checked))
          .map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert missed == []
    assert seen > 25
