"""The demo edits a picture in a real browser, and again with prompts and a mask that were changed by hand."""

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from scripts import demo
from scripts.app import CONF

HAS_GRADIO = importlib.util.find_spec("gradio") is not None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_GRADIO, reason="gradio is not installed: it is in the extras `demo` and `dev`"),
]


@pytest.fixture
def url(tmp_path: Path) -> Any:
    """Serve the demo of the shipped models, with few steps."""
    from eval.demo.page import launch

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("demo", [f"results={tmp_path}", "method.editor.steps=6"])
        blocks = demo.page(config, {"instructedit": config})
    yield launch(blocks, "127.0.0.1", 0, prevent_thread_lock=True)
    blocks.close()


def choose(page: Any, number: int) -> str:
    """Choose an example, wait until its picture and instruction are there, and return the instruction."""
    row = page.get_by_role("row").nth(number)
    instruction = str(row.get_by_role("gridcell").nth(1).inner_text().strip())
    name = row.locator("img").get_attribute("src").rpartition("/")[2]
    row.click()
    page.wait_for_function(
        "([text, name]) => document.querySelector('#instruction textarea').value === text"
        " && document.querySelector('#picture img')?.src.endsWith(name)",
        arg=[instruction, name],
    )
    return instruction


def open_and_edit(page: Any, url: str) -> None:
    """Open the page and edit the first example."""
    page.set_default_timeout(240_000)
    page.goto(url)
    button(page, "Edit").wait_for()
    instruction = choose(page, 1)
    button(page, "Edit").click()
    page.get_by_text(f"{instruction}: 1 of 1 edits done").wait_for()


def button(page: Any, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


def edit_with_mask(page: Any) -> None:
    """Click until the mask's edit is shown; the page refuses a click that comes before a result's mask has arrived."""
    from playwright.sync_api import TimeoutError as Late  # optional, as gradio is

    for left in (2, 1, 0):
        button(page, BY_MASK).click()
        try:
            page.locator(BOXES).wait_for(state="detached", timeout=80_000)
            return
        except Late:
            if not left:
                raise


def share(page: Any) -> str:
    """Return the mask's share of the image, as the page says it."""
    return str(page.locator("dt", has_text="% of the image").inner_text())


BY_PROMPTS, BY_MASK = "Edit with these prompts", "Edit with this mask and these prompts"
BOXES = ".step h4:has-text('Boxes')"


def test_a_picture_is_edited(url: str, new_page: Callable[..., Any]) -> None:
    foreign: list[str] = []
    page = new_page()

    def refuse(route: Any) -> None:
        foreign.append(route.request.url)
        route.abort()

    own = (url.rstrip("/"), "data:", "blob:")
    page.context.route(lambda address: not address.startswith(own), refuse)
    open_and_edit(page, url)
    prompt, found = page.get_by_label("Segmentation prompt").input_value(), share(page)
    assert prompt
    titles = [text.split("\n")[0] for text in page.locator(".step h4").all_inner_texts()]
    assert titles == ["Prompts", "Boxes", "Mask", "Edit"]
    page.get_by_label("Segmentation prompt").fill("zeppelin & <b>co</b>")
    button(page, BY_PROMPTS).click()
    page.locator("dd", has_text="zeppelin & <b>co</b>").wait_for()
    page.get_by_label("Segmentation prompt").fill(prompt)
    button(page, BY_PROMPTS).click()
    page.get_by_text("1 of 1 edits done").wait_for()
    page.locator(BOXES).wait_for()
    # The mask as it is: no box is searched, and the same edit comes from the cache.
    edit_with_mask(page)
    assert share(page) == found
    assert page.locator("dd", has_text="0 computed").count() == 1
    assert foreign == []


CLICK_AT_ONCE = """(instruction) => {
  const button = [...document.querySelectorAll("button")].find((node) => node.innerText.includes("this mask"));
  const watch = new MutationObserver(() => {
    if (button.disabled || !document.querySelector("#state").innerText.startsWith(`${instruction}: 1 of 1`)) return;
    watch.disconnect();
    button.click();
    window.hasClicked = true;
  });
  watch.observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
}"""
"""Clicks as soon as the button can be clicked after the edit with an instruction, whatever is drawn by then."""


def test_a_click_at_once_takes_the_mask_of_this_edit(url: str, new_page: Callable[..., Any]) -> None:
    page = new_page()
    open_and_edit(page, url)
    first = share(page)
    instruction = choose(page, 5)
    page.evaluate(CLICK_AT_ONCE, instruction)
    button(page, "Edit").click()
    page.wait_for_function("window.hasClicked")
    page.locator(BOXES).wait_for(state="detached")
    page.get_by_text("1 of 1 edits done").wait_for()
    at_once = share(page)
    button(page, "Edit").click()
    page.locator(BOXES).wait_for()
    page.get_by_text("1 of 1 edits done").wait_for()
    assert share(page) == at_once
    assert at_once != first


def test_a_mask_is_drawn(url: str, new_page: Callable[..., Any]) -> None:
    page = new_page()
    page.set_default_timeout(240_000)
    page.goto(url)
    assert button(page, BY_MASK).is_disabled()
    open_and_edit(page, url)
    canvas = page.locator("#mask canvas[data-result]")
    canvas.wait_for()
    page.get_by_role("button", name="Clear").click()
    button(page, BY_MASK).click()
    page.get_by_text("Not edited: the mask is empty; draw where the image is to change").wait_for()
    page.get_by_label("Size of the brush").fill("64")
    canvas.scroll_into_view_if_needed()
    frame = canvas.bounding_box()
    x1, x2 = frame["x"] + 0.25 * frame["width"], frame["x"] + 0.75 * frame["width"]
    y = frame["y"] + 0.5 * frame["height"]
    page.mouse.move(x1, y)
    page.mouse.down()
    page.mouse.move(x2, y)
    page.mouse.up()
    button(page, BY_MASK).click()
    page.locator(BOXES).wait_for(state="detached")
    page.get_by_text("1 of 1 edits done").wait_for()
    # A line of half the picture's width and an eighth of its height, with round ends.
    expected = 100 * (1 / 2 / 8 + math.pi * (1 / 16) ** 2)
    assert float(share(page).split()[0]) == pytest.approx(expected, abs=0.5)
    # The mask of another picture is refused.
    choose(page, 4)
    button(page, BY_MASK).click()
    page.get_by_text("Not edited: the picture is another one than that of the mask").wait_for()
