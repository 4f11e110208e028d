"""A study's file: who comes again, which answers count, and what its tables say."""

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from eval.analysis.preference import preferences, read_answers
from eval.annotation import study as module
from eval.annotation.study import Done, Page, Protocol, UserStudy, Visitor, Withdrawn
from eval.annotation.study_tables import (
    MTURK,
    answers,
    export,
    from_mturk,
    import_results,
    participants,
    read_results,
    to_mturk,
)
from instructedit.types import ConfigError
from tests.eval.annotation.made import METHODS, as_published, join, study, triplets


@pytest.fixture
def made(tmp_path: Path) -> UserStudy:
    return study(tmp_path / "study.sqlite")


def answer_all(made: UserStudy, token: str, choose: Callable[[Page], str] = lambda page: "left") -> None:
    while isinstance(page := made.page(token), Page):
        assert made.answer(token, page.place, choose(page)) is True


def obey(page: Page) -> str:
    return "right" if page.instruction == module.CHECK.format(side="right") else "left"


def test_an_answer_is_on_disk_before_the_next_page(made: UserStudy) -> None:
    token = join(made, "a")
    assert made.answer(token, 1, "right") is True
    db = sqlite3.connect(made.database.path)
    assert db.execute("SELECT choice FROM answers").fetchall() == [("right",)]
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert made.page(token).place == 2  # type: ignore[union-attr]


def test_the_first_answer_counts(made: UserStudy) -> None:
    token = join(made, "a")
    assert [made.answer(token, 1, choice) for choice in ("left", "left", "right")] == [True, True, False]
    assert len(answers(made, 0)) + participants(made, 0)["answers"].sum() in (1, 2)
    assert made.answer(token, 99, "left") is None
    assert made.answer("nobody", 1, "left") is None
    assert made.page("nobody") is None


def test_a_participant_is_done_after_the_last_answer(made: UserStudy) -> None:
    token = join(made, "a")
    answer_all(made, token)
    done = made.page(token)
    assert isinstance(done, Done)
    assert (done.count, done.is_prolific) == (8, False)
    assert made.counts == (1, 1, 8)
    finished = participants(made, 0)["finished"].iloc[0]
    made.answer(token, 3, "right")
    assert participants(made, 0)["finished"].iloc[0] == finished


def test_a_visit_and_prolifics_ids_make_one_participant(made: UserStudy) -> None:
    token = join(made, "a")
    assert join(made, "a") == token
    person = Visitor("b", "pid", "study", "session")
    theirs = made.join(person, None, 2)
    assert made.join(replace(person, visit="c", session_id="other"), None, 2) == theirs
    assert made.known(replace(person, visit="d")) == theirs
    assert made.join(replace(person, visit="e", study_id="other"), None, 2) != theirs
    assert made.known(Visitor("f")) is None
    assert made.counts[0] == 3


def test_at_once_nobody_is_counted_twice(made: UserStudy) -> None:
    tokens: list[str] = []

    def person(visit: str) -> None:
        tokens.append(join(made, visit))
        answer_all(made, tokens[-1])

    threads = [threading.Thread(target=person, args=(f"v{i % 8}",)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(tokens)) == 8
    assert made.counts == (8, 8, 64)


def test_images_are_those_of_the_item_and_have_no_metadata(tmp_path: Path) -> None:
    made = study(tmp_path / "study.sqlite", checks=0)
    originals = {t.sample.id: t for t in triplets(6)}
    token = join(made, "a", checks=0)
    with made.database.read() as db:
        items = db.execute(
            "SELECT place, sample_id, method, reference_side FROM items i JOIN samples s ON s.id = i.sample"
            " JOIN edits ON edits.id = baseline"
        ).fetchall()
    assert len(items) == 6
    for item in items:
        own = originals[item["sample_id"]]
        baseline = next(e.image for e in own.baselines if e.method == item["method"])
        expected = {"input": own.source, item["reference_side"]: own.reference.image}
        for which in ("input", "left", "right"):
            data = made.picture(token, item["place"], which)
            assert data is not None
            with Image.open(BytesIO(data)) as image:
                assert image.info == {}
                assert image.tobytes() == expected.get(which, baseline).tobytes()
    assert made.picture(token, 7, "left") is None
    assert made.picture("nobody", 1, "left") is None


def test_abandoned_items_leave_the_balance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = study(tmp_path / "study.sqlite", checks=0)
    made.answer(join(made, "a", checks=0), 1, "left")
    with made.database.write() as db:
        assert sum(made._shown(db).values()) == 6
        db.execute("UPDATE participants SET seen = '2020-01-01T00:00:00.000+00:00'")
        assert sum(made._shown(db).values()) == 1


def test_a_study_goes_on_with_its_own_protocol_and_images(made: UserStudy) -> None:
    again = UserStudy(made.database.path)
    same = Protocol("tiny", "instructedit", None, 2, "Which?", "Yes.")
    again.begin(same, ())
    assert again.count(None) == 6
    with pytest.raises(ConfigError, match="began with question=Which"):
        again.begin(replace(same, question="Why?"), ())
    with pytest.raises(ConfigError, match="began with checks=2; accepted is that, or name="):
        again.begin(replace(same, checks=3), ())


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("no database at all, but long enough to look at" * 100)
    with pytest.raises(ConfigError, match=r"text\.sqlite: cannot be opened"):
        UserStudy(tmp_path / "text.sqlite")
    with pytest.raises(ConfigError, match="nothing to compare"):
        study(tmp_path / "empty.sqlite", count=0)
    sqlite3.connect(tmp_path / "other.sqlite").execute("CREATE TABLE settings (key, value)")
    with pytest.raises(ConfigError, match=r"other\.sqlite: is of kind None"):
        UserStudy(tmp_path / "other.sqlite")


def test_who_fails_the_checks_is_left_out(made: UserStudy, tmp_path: Path) -> None:
    answer_all(made, join(made, "careful"), obey)
    token = join(made, "careless")
    answer_all(made, token, lambda page: {"left": "right", "right": "left"}[obey(page)])
    assert participants(made, 0)["failures"].tolist() == [0, 2]
    assert participants(made, 0)["passed"].tolist() == [True, False]
    table = answers(made, 0)
    assert len(table) == 12
    assert sum(p.n for p in preferences(table)[:-1]) == 6
    assert len({p.n for p in preferences(answers(made, 2))}) >= 1
    assert preferences(answers(made, 2))[-1].n == 12


def test_tables_are_read_back(made: UserStudy, tmp_path: Path) -> None:
    answer_all(made, join(made, "a"), obey)
    made.join(Visitor("b", "pid-of-somebody", "study", "session"), None, 2)
    rows = export(made, 0, tmp_path / "out")
    assert rows == {"answers.csv": 6, "mturk.csv": 6, "participants.csv": 2}
    ours = read_answers(tmp_path / "out/answers.csv")
    assert ours["choice"].tolist() == answers(made, 0)["choice"].tolist()
    assert list(pd.read_csv(tmp_path / "out/mturk.csv").columns) == list(MTURK)
    theirs = read_results(tmp_path / "out/mturk.csv")
    kept = ["participant", "passed", "sample_id", "image_id", "instruction", "reference", "baseline", "side", "choice"]
    assert theirs[kept].equals(ours[kept])
    for name in ("answers.csv", "mturk.csv"):
        assert "pid-of-somebody" not in (tmp_path / "out" / name).read_text()
        again = import_results(made, read_results(tmp_path / "out" / name), 0, name)
        assert (again.added, again.known, again.contradicting) == (0, 6, 0)


def test_results_of_another_server_are_added_once(tmp_path: Path) -> None:
    table = as_published()
    to_mturk(table.assign(passed=True, image_id=None, instruction=None, shown=None, answered=None)).to_csv(
        tmp_path / "batch.csv", index=False
    )
    made = study(tmp_path / "study.sqlite", count=30)
    first = import_results(made, read_results(tmp_path / "batch.csv"), 0, "batch.csv")
    assert (first.added, first.known) == (780, 0)
    changed = read_results(tmp_path / "batch.csv")
    changed.loc[0, "choice"] = {"left": "right", "right": "left"}[changed.loc[0, "choice"]]
    again = import_results(made, changed, 0, "batch.csv")
    assert (again.added, again.known, again.contradicting) == (0, 780, 1)
    found = {p.baseline: f"{100 * p.rate:.1f}" for p in preferences(answers(made, 0))}
    assert {k: found[k] for k in METHODS} == {"mdp": "72.7", "instruct_pix2pix": "68.3", "diffedit": "66.2"}
    # Nobody can go on as somebody who was imported.
    assert made.page("w0") is None
    with pytest.raises(ConfigError, match=r"row 2: the study does not compare instructedit with glide on sample 's"):
        import_results(made, changed.assign(baseline="glide"), 0, "batch.csv")
    assert made.counts[2] == 780


def test_radio_buttons_of_crowd_html_are_read() -> None:
    batch = pd.DataFrame(
        [("w", "s0", "instructedit", "mdp", "instructedit", "true", "false"),
         ("w", "s1", "mdp", "instructedit", "instructedit", "true", "false")],
        columns=["WorkerId", "Input.sample_id", "Input.left", "Input.right", "Input.reference",
                 "Answer.choice.left", "Answer.choice.right"],
    )  # fmt: skip
    found = from_mturk(batch, "batch.csv")
    assert found["side"].tolist() == ["left", "right"]
    assert found["choice"].tolist() == ["left", "left"]
    with pytest.raises(ConfigError, match=r"lacks the columns Answer\.choice"):
        from_mturk(batch.drop(columns=["Answer.choice.left", "Answer.choice.right"]), "batch.csv")
    with pytest.raises(ConfigError, match=r"row 3: Input\.reference is accepted in one"):
        from_mturk(batch.assign(**{"Input.left": ["instructedit", "x"], "Input.right": ["mdp", "y"]}), "batch.csv")


def test_who_withdraws_is_in_no_table_and_no_analysis(made: UserStudy, tmp_path: Path) -> None:
    for visit in ("stays", "leaves"):
        answer_all(made, join(made, visit), obey)
    early = join(made, "early")
    made.answer(early, 1, "left")
    leaver = join(made, "leaves")
    assert made.withdraw(leaver) is True
    assert made.withdraw(early) is True
    with made.database.read() as db:
        moment = db.execute("SELECT moment FROM withdrawals ORDER BY participant").fetchone()[0]
    assert made.withdraw(leaver) is True
    assert made.withdraw("nobody") is False
    # Nothing is deleted or changed: the first withdrawal counts, and the answers are still in the file.
    with made.database.read() as db:
        assert db.execute("SELECT moment FROM withdrawals ORDER BY participant").fetchone()[0] == moment
        assert db.execute("SELECT count(*) FROM answers").fetchone()[0] == 17
    assert made.page(leaver) == Withdrawn(8, False)
    assert made.page(early) == Withdrawn(1, False)
    assert made.answer(early, 2, "left") is False
    assert (made.counts, made.withdrawn) == ((1, 1, 8), (2, 9))
    assert join(made, "leaves") == leaver
    assert export(made, 0, tmp_path) == {"answers.csv": 6, "mturk.csv": 6, "participants.csv": 1}
    assert sum(p.n for p in preferences(answers(made, 0))[:-1]) == 6
    with made.database.read() as db:
        assert sum(made._shown(db).values()) == 6  # who comes next gets what they had
        codes = [row[0] for row in db.execute("SELECT code FROM participants WHERE token != ?", (early,))]
    stays, leaves = codes
    texts = "".join(path.read_text() for path in tmp_path.glob("*.csv"))
    assert stays in texts
    assert leaves not in texts


def test_answers_of_a_table_do_not_undo_a_withdrawal(made: UserStudy, tmp_path: Path) -> None:
    token = join(made, "a")
    answer_all(made, token, obey)
    export(made, 0, tmp_path)
    made.withdraw(token)
    done = import_results(made, read_results(tmp_path / "answers.csv"), 0, "answers.csv")
    assert (done.added, done.known) == (0, 6)
    assert len(answers(made, 0)) == 0


def test_a_file_of_an_earlier_version_knows_withdrawals_when_it_is_opened(made: UserStudy) -> None:
    token = join(made, "a")
    with made.database.write() as db:
        db.execute("DROP TABLE withdrawals")
    again = UserStudy(made.database.path)
    assert again.withdraw(token) is True
    assert again.withdrawn == (1, 0)
