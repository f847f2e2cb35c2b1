"""How the page looks to a reader, measured in the browser."""

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
