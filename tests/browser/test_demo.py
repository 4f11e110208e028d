"""The demo edits a picture in a real browser, and again with prompts and a mask that were changed by hand."""

import importlib.util
import time
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


def test_a_picture_is_edited(url: str, new_page: Callable[..., Any]) -> None:
    foreign: list[str] = []
    page = new_page()

    def refuse(route: Any) -> None:
        foreign.append(route.request.url)
        route.abort()

    own = (url.rstrip("/"), "data:", "blob:")
    page.context.route(lambda address: not address.startswith(own), refuse)
    page.set_default_timeout(240_000)
    page.goto(url)
    page.get_by_role("button", name="Edit", exact=True).wait_for()
    page.get_by_role("row").nth(1).click()  # the first example
    page.wait_for_function("document.querySelector('textarea').value !== ''")
    page.get_by_role("button", name="Edit", exact=True).click()
    page.get_by_text("1 of 1 edits done").wait_for()
    prompt = page.get_by_label("Segmentation prompt").input_value()
    size = page.locator("td", has_text="% of the image").inner_text()
    assert prompt
    assert page.locator("th", has_text="segmentation prompt").count() == 1
    assert page.locator("td", has_text="computed").count() == 1
    page.get_by_label("Segmentation prompt").fill("zeppelin & <b>co</b>")
    page.get_by_role("button", name="Edit with these prompts").click()
    page.locator("td", has_text="zeppelin & <b>co</b>").wait_for()
    page.get_by_label("Segmentation prompt").fill(prompt)
    page.get_by_role("button", name="Edit with these prompts").click()
    page.locator("th", has_text="box").first.wait_for()
    page.get_by_text("1 of 1 edits done").wait_for()
    # The editor of the mask draws its layers some time after the results, and does not say when.
    boxes, sizes = page.locator("th", has_text="box"), page.locator("td", has_text="% of the image")
    deadline = time.monotonic() + 240
    while boxes.count() or sizes.inner_text() != size:
        assert time.monotonic() < deadline, (boxes.count(), sizes.inner_text(), size)
        page.wait_for_timeout(4_000)
        page.get_by_role("button", name="Edit with this mask and these prompts").click()
        page.wait_for_timeout(4_000)
    assert foreign == []
