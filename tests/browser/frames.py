"""When the page shows what it was told, on a busy machine, too."""

# What the viewer is told may wait for a timer of its own, and is drawn at the frame after that.
DRAWN = """(time) => new Promise((drawn) =>
  setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(drawn)), time))"""
# Gradio covers the page until all parts are drawn; the viewer may be ready before.
READY = (
    """() => document.querySelector(".viewer[data-ready]") && !document.querySelector(".loading")"""
)
STILL = """() => document.getAnimations().every((each) =>
  each.playState !== "running" || each.effect.getComputedTiming().iterations === Infinity)"""


def wait_until_ready(page):
    """Until a reader can use every part of the page."""
    page.wait_for_function(READY, timeout=90_000)  # two busy cores


def wait_until_drawn(page, after=100):
    """`after`: milliseconds that the page itself waits at most."""
    page.evaluate(DRAWN, after)


def wait_until_still(page):
    """Until nothing fades or moves any more, which Gradio's parts do."""
    wait_until_drawn(page, after=300)
    page.wait_for_function(STILL)
