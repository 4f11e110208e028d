"""Annotators label with a real browser: the keyboard, a closed tab, two at once, a killed server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.annotation.label import LabelStore
from tests.browser.conftest import PHONE, Process, Serve
from tests.browser.server import label_app
from tests.browser.test_study import CONTRAST
from tests.eval.annotation.labelled import store

pytestmark = pytest.mark.slow
Open = Callable[..., Any]


def begin(page: Any, url: str, name: str) -> None:
    page.goto(url)
    page.get_by_role("textbox").fill(name)
    page.keyboard.press("Enter")
    page.wait_for_url("**/a/**")


def at(page: Any, labelled: int, count: int = 10) -> None:
    page.get_by_text(f"{labelled} of {count} labelled").wait_for()
    page.wait_for_load_state("load")


def press(page: Any, keys: str) -> None:
    for key in keys.split():
        page.keyboard.press(key)


def verdicts(made: LabelStore) -> list[tuple[str, bool, bool, str]]:
    table = made.table()
    return list(zip(table["annotator"], table["segmenter"], table["editor"], table["comment"], strict=True))


def test_ten_cases_by_keyboard_with_the_tab_closed_in_the_middle(new_page: Open, serve: Serve, tmp_path: Path) -> None:
    made = store(tmp_path / "labels.sqlite")
    url, page = serve(label_app(made.database.path)), new_page()
    begin(page, url, "ann")
    for done in range(5):
        at(page, done)
        assert "<b>thing" not in page.content()
        assert page.title() != "hacked"
        press(page, f"l s {'Shift+E' if done % 2 else 'e'} Enter")
    at(page, 5)
    press(page, "l Shift+S")  # not saved
    page.close()
    page = new_page()
    begin(page, url, "ann")
    for done in range(5, 10):
        at(page, done)
        assert page.locator("input:checked:not([data-shortcuts])").count() == 0
        press(page, f"l s {'Shift+E' if done % 2 else 'e'} Enter")
    page.get_by_role("heading", name="All cases seen").wait_for()
    assert verdicts(made) == [("ann", True, done % 2 == 0, "") for done in range(10)]


def test_two_annotators_at_once(new_page: Open, serve: Serve, tmp_path: Path) -> None:
    made = store(tmp_path / "labels.sqlite", 4)
    url = serve(label_app(made.database.path))
    people = {"ann": new_page(), "bob": new_page(**PHONE)}
    for name, page in people.items():
        begin(page, url, name)
    for done in range(4):
        for name, page in people.items():
            at(page, done, 4)
            assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
            press(page, f"l s {'e' if name == 'ann' else 'Shift+E'}")
        for page in people.values():
            page.get_by_role("button", name="Save").click()
    for page in people.values():
        page.get_by_role("heading", name="All cases seen").wait_for()
    assert verdicts(made) == [("ann", True, True, "")] * 4 + [("bob", True, False, "")] * 4


def test_undo_skip_comment_and_other_tabs(new_page: Open, serve: Serve, tmp_path: Path) -> None:
    made = store(tmp_path / "labels.sqlite", 4)
    url, page = serve(label_app(made.database.path)), new_page()
    begin(page, url, "ann")
    at(page, 0, 4)
    stale = page.context.new_page()
    stale.goto(page.url)
    at(stale, 0, 4)
    press(page, "Enter")  # nothing is chosen, so that nothing is saved
    assert made.table().empty
    press(page, "l s e c")
    page.keyboard.type("less <i>red</i>, else good")
    press(page, "Escape")
    page.get_by_role("button", name="Save").dblclick()
    at(page, 1, 4)
    press(stale, "l s Shift+E Enter")
    stale.get_by_text("You labelled this case in another tab").wait_for()
    assert stale.get_by_role("textbox").input_value() == "less <i>red</i>, else good"
    assert verdicts(made) == [("ann", True, True, "less <i>red</i>, else good")]
    press(page, "u")
    page.wait_for_url("**/a/ann/*")
    at(page, 1, 4)
    press(page, "Shift+E Enter")
    page.wait_for_url("**/a/ann")
    at(page, 1, 4)
    assert verdicts(made) == [("ann", True, False, "less <i>red</i>, else good")]
    press(page, "k")
    page.get_by_text("1 skipped").wait_for()
    page.wait_for_load_state("load")
    page.get_by_role("checkbox", name="single keys").uncheck()
    press(page, "l s e k")
    assert page.locator("input:checked:not([data-shortcuts])").count() == 0
    assert page.evaluate(CONTRAST) == []
    heard = page.locator("body").aria_snapshot()
    for said in ('group "Segmenter"', 'radio "right"', 'textbox "Comment"', 'img "Edited image"', 'button "Skip"'):
        assert said in heard


def test_a_killed_server_loses_nothing(new_page: Open, process: Callable[[str, Path], Process], tmp_path: Path) -> None:
    made = store(tmp_path / "labels.sqlite", 4)
    server, page = process("label", made.database.path), new_page()
    begin(page, server.url, "ann")
    at(page, 0, 4)
    press(page, "l s e Enter")
    at(page, 1, 4)
    server.kill()
    press(page, "l s Shift+E Enter")
    page.get_by_text("This is not saved yet").wait_for()
    server.start()
    at(page, 2, 4)
    assert verdicts(made) == [("ann", True, True, ""), ("ann", True, False, "")]
