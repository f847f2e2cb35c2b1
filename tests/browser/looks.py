"""How the page looks to a reader, measured in the browser."""

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
      if (e.matches(".panel.filled")) {
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
