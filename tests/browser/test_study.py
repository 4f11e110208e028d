"""People take part in a study with a real browser: phone, keyboard, other tabs, the back button, a killed server."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.annotation.study import CHECK
from tests.browser.conftest import PHONE, Process, Serve
from tests.browser.server import COMPLETION, QUESTION, study_app
from tests.eval.annotation.made import ATTACK, METHODS, study

pytestmark = pytest.mark.slow
Open = Callable[..., Any]
SECRETS = (*METHODS, "instructedit", "reference", "baseline", "run-")


def stored(path: Path) -> list[tuple[int, int, str]]:
    rows = sqlite3.connect(path).execute("SELECT participant, place, choice FROM answers ORDER BY 1, 2")
    return [(participant, place, choice) for participant, place, choice in rows]


def begin(page: Any, url: str) -> None:
    page.goto(url)
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Begin").click()
    at(page, 1)


def at(page: Any, place: int) -> None:
    """Wait until an item is shown and its script has run."""
    page.get_by_text(f"Page {place} of").wait_for()
    page.wait_for_load_state("load")


def choose(page: Any, side: str) -> None:
    page.get_by_role("radio", name=f"on the {side}").check()
    page.get_by_role("button", name="Next").click()


def test_twelve_triplets_on_a_phone(new_page: Open, serve: Serve, tmp_path: Path) -> None:
    made = study(tmp_path / "study.sqlite", count=12, checks=1)
    url, page = serve(study_app(made.database.path, checks=1)), new_page(**PHONE)
    begin(page, url)
    sides, orders = [], []
    for place in range(1, 14):
        at(page, place)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        images = page.get_by_role("img").all()
        assert len(images) == 3
        assert all(image.evaluate("node => node.complete && node.naturalWidth > 0") for image in images)
        html = page.content()
        assert not [secret for secret in SECRETS if secret in html]
        assert re.search(r"\bs\d+\b", html) is None  # ids of samples
        instruction = page.locator(".instruction strong").inner_text()
        asked = [side for side in ("left", "right") if instruction == CHECK.format(side=side)]
        sides.append(asked[0] if asked else ("left", "right")[place % 2])
        orders.append(instruction)
        page.locator(f".choice:has(input[value={sides[-1]}]) img").tap()  # the image itself can be touched
        page.get_by_role("button", name="Next").tap()
    page.get_by_role("heading", name="Thank you").wait_for()
    assert "All 13 answers are saved" in page.content()
    assert stored(made.database.path) == [(1, place, side) for place, side in enumerate(sides, start=1)]
    assert ATTACK in orders
    assert page.title() == "Thank you"
    # The links of images of all items have one form, and their heads say nothing either.
    token = page.url.rpartition("/")[2]
    heads = [page.request.get(f"{url}p/{token}/2/{side}.png").headers for side in ("left", "right")]
    assert heads[0].keys() == heads[1].keys()
    assert {k for k in heads[0] if heads[0][k] != heads[1][k]} <= {"content-length", "date"}


def test_with_the_keyboard_alone(new_page: Open, serve: Serve, tmp_path: Path) -> None:
    made = study(tmp_path / "study.sqlite", count=4, checks=0)
    page = new_page()
    page.goto(serve(study_app(made.database.path, checks=0)))
    for key in ("Tab", "Tab", "Space", "Tab", "Enter"):  # skip link, consent, button
        page.keyboard.press(key)
    for place, keys in enumerate((["1"], ["ArrowRight"], ["2", "ArrowLeft"], ["Tab", "Tab", "Space"]), start=1):
        at(page, place)
        for key in keys:
            page.keyboard.press(key)
        page.keyboard.press("Enter")
    page.get_by_role("heading", name="Thank you").wait_for()
    assert [choice for _, _, choice in stored(made.database.path)] == ["left", "right", "left", "left"]


def test_what_a_screen_reader_says(new_page: Open, serve: Serve, tmp_path: Path) -> None:
    made = study(tmp_path / "study.sqlite", count=2, checks=0)
    page = new_page()
    begin(page, serve(study_app(made.database.path, checks=0)))
    assert page.evaluate("document.documentElement.lang") == "en"
    heard = page.locator("body").aria_snapshot()
    for said in (
        f'heading "{QUESTION}" [level=1]', f'group "{QUESTION}"', 'img "The image before the edit"',
        'radio "Edited image A, on the left', 'progressbar "Page 1 of 2"', 'button "Next"',
    ):  # fmt: skip
        assert said in heard
    assert page.evaluate(CONTRAST) == []


CONTRAST = """() => {
  const lum = (rgb) => rgb.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; })
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const c = parse(getComputedStyle(node).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const node of document.querySelectorAll("body *")) {
    if (![...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())) continue;
    const [a, b] = [lum(parse(getComputedStyle(node).color).slice(0, 3)), lum(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(node.textContent.trim() + " " + ratio.toFixed(2));
  }
  return low;
}"""
"""Texts whose contrast is below that of WCAG 2.2, level AA."""


def test_tabs_the_back_button_and_double_clicks(new_page: Open, serve: Serve, tmp_path: Path) -> None:
    made = study(tmp_path / "study.sqlite", count=6, checks=0)
    url, page = serve(study_app(made.database.path, checks=0)), new_page()
    begin(page, url)
    stale = page.context.new_page()
    stale.goto(page.url)
    page.get_by_role("radio", name="on the left").check()
    page.evaluate("() => { const b = document.querySelector('button'); b.click(); b.click(); b.form.requestSubmit(); }")
    at(page, 2)
    choose(stale, "right")
    at(stale, 2)
    assert "Your first answer counts" in stale.content()
    assert stored(made.database.path) == [(1, 1, "left")]
    choose(page, "right")
    at(page, 3)
    page.go_back()  # out of the study: each item takes the place of the one before
    page.go_forward()
    at(page, 3)
    page.reload()
    at(page, 3)
    page.goto(url)  # consent again: the same participant goes on
    at(page, 3)
    choose(page, "left")
    at(page, 4)
    assert stored(made.database.path) == [(1, 1, "left"), (1, 2, "right"), (1, 3, "left")]
    other = new_page()
    other.goto(page.url)
    at(other, 4)  # by the link, on another device
    page.goto(f"{url}?another=true")
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Begin").dblclick()
    at(page, 1)
    assert made.counts[0] == 2


def test_a_killed_server_loses_nothing(new_page: Open, process: Callable[[str, Path], Process], tmp_path: Path) -> None:
    made = study(tmp_path / "study.sqlite", count=6, checks=2)
    server, page = process("study", made.database.path), new_page()
    begin(page, server.url)
    for place in range(1, 4):
        at(page, place)
        choose(page, "left")
    at(page, 4)
    server.kill()
    choose(page, "right")
    page.get_by_text("This is not saved yet").wait_for()
    assert len(stored(made.database.path)) == 3
    server.start()
    at(page, 5)  # the page has sent the answer again
    assert [choice for _, _, choice in stored(made.database.path)] == ["left", "left", "left", "right"]
    server.kill()
    server.start()
    page.reload()
    at(page, 5)


def test_prolific_gets_its_participant_back_after_the_last_answer(new_page: Open, serve: Serve, tmp_path: Path) -> None:
    made = study(tmp_path / "study.sqlite", count=2, checks=0)
    url, page = serve(study_app(made.database.path, checks=0)), new_page()
    answers_then: list[int] = []

    def prolific(route: Any) -> None:
        answers_then.append(len(stored(made.database.path)))
        assert "referer" not in route.request.headers
        route.fulfill(body="welcome back", content_type="text/plain")

    page.context.route("https://app.prolific.com/**", prolific)
    entry = f"{url}?PROLIFIC_PID=p1&STUDY_ID=st1&SESSION_ID=se1"
    begin(page, entry)
    choose(page, "left")
    at(page, 2)
    other = new_page()
    other.goto(entry)  # from Prolific again, on another device
    at(other, 2)
    choose(page, "left")
    page.wait_for_url(COMPLETION)
    assert answers_then == [2]
    row = sqlite3.connect(made.database.path).execute("SELECT prolific_pid, study_id, session_id FROM participants")
    assert row.fetchall() == [("p1", "st1", "se1")]
    other.goto(f"{url}?PROLIFIC_PID=<script>&STUDY_ID=x")
    assert "This form is not complete" in other.content()


def test_without_scripts(new_page: Open, serve: Serve, tmp_path: Path) -> None:
    made = study(tmp_path / "study.sqlite", count=3, checks=0)
    page = new_page(java_script_enabled=False)
    begin(page, serve(study_app(made.database.path, checks=0)))
    for place in range(1, 4):
        at(page, place)
        choose(page, "right")
        if place == 2:
            at(page, 3)
            page.go_back()
    page.get_by_role("heading", name="Thank you").wait_for()
    assert len(stored(made.database.path)) == 3


def tab_to(page: Any, name: str) -> None:
    """Press Tab until the element with this name has the focus."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if name in page.evaluate("document.activeElement.innerText || ''"):
            return
    raise AssertionError(f"no key reaches {name!r}")


def test_somebody_withdraws_with_the_keyboard(new_page: Open, serve: Serve, tmp_path: Path) -> None:
    made = study(tmp_path / "study.sqlite", count=4, checks=0)
    url, page = serve(study_app(made.database.path, checks=0)), new_page()
    page.goto(url)
    page.get_by_text("Each page has a button to stop and withdraw your answers").wait_for()
    begin(page, url)
    choose(page, "left")
    at(page, 2)
    other = page.context.new_page()
    other.goto(page.url)
    at(other, 2)
    # Who changes their mind goes on where they were.
    tab_to(page, "Stop and withdraw my answers")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Withdraw your answers?").wait_for()
    page.get_by_text("You have given 1 answer so far").wait_for()
    assert page.evaluate(CONTRAST) == []
    tab_to(page, "Keep my answers and go back")
    page.keyboard.press("Enter")
    at(page, 2)
    assert made.withdrawn == (0, 0)
    tab_to(page, "Stop and withdraw my answers")
    page.keyboard.press("Space")
    page.get_by_role("heading", name="Withdraw your answers?").wait_for()
    page.wait_for_load_state("load")
    tab_to(page, "Withdraw my answers")
    page.keyboard.press("Space")
    page.get_by_role("heading", name="You have withdrawn").wait_for()
    page.get_by_text("Your 1 answer is marked as withdrawn and left out of every table and every analysis").wait_for()
    assert page.evaluate(CONTRAST) == []
    assert (made.counts, made.withdrawn) == ((0, 0, 0), (1, 1))
    # Another tab, the back button and the study's address lead to the same page, and no answer is added.
    choose(other, "right")
    other.get_by_role("heading", name="You have withdrawn").wait_for()
    page.go_back()
    page.get_by_role("heading", name="You have withdrawn").wait_for()
    page.goto(url)
    page.get_by_role("heading", name="You have withdrawn").wait_for()
    assert stored(made.database.path) == [(1, 1, "left")]
    page.get_by_role("link", name="begin anew").click()
    page.get_by_role("heading", name="Compare edits of images").wait_for()


def test_somebody_withdraws_on_a_phone_after_the_last_page(new_page: Open, serve: Serve, tmp_path: Path) -> None:
    made = study(tmp_path / "study.sqlite", count=2, checks=0)
    page = new_page(java_script_enabled=False, **PHONE)
    begin(page, serve(study_app(made.database.path, checks=0)))
    for place in (1, 2):
        at(page, place)
        choose(page, "left")
    page.get_by_role("heading", name="Thank you").wait_for()
    page.get_by_role("button", name="Withdraw my answers").tap()
    page.get_by_text("You have given 2 answers so far").wait_for()
    page.get_by_role("button", name="Withdraw my answers").tap()
    page.get_by_role("heading", name="You have withdrawn").wait_for()
    assert (made.counts, made.withdrawn) == ((0, 0, 0), (1, 2))
