"""The commands of the pages: refused values, and a study from runs to its analysis."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from eval.annotation import web
from eval.annotation.study import UserStudy
from scripts import demo, label, study
from tests.commands import RunScript, refusal
from tests.eval.report.test_report import Fade, make_benchmark, make_run


@pytest.mark.parametrize(
    ("main", "words", "said"),
    [
        (study.main, ["begin"], "action=begin: accepted are serve, export, import, analyse"),
        (study.main, ["checks=-1"], "checks=-1: accepted are whole numbers from 0 on"),
        (study.main, ["samples=0"], "samples=0: accepted are whole numbers from 1 on"),
        (study.main, ["name=../up"], "name=../up: accepted are letters, digits"),
        (study.main, ["port=70000"], "port=70000: accepted are whole numbers from 0 to 65535"),
        (
            study.main,
            ["completion_url=javascript:alert(1)"],
            "completion_url=javascript:alert(1): accepted are null, or",
        ),
        (study.main, ["public_url=ftp://x"], "public_url=ftp://x: accepted are null, or an address"),
        (study.main, ["question= "], "question= : accepted are texts"),
        (study.main, ["export"], "python -m scripts.study begins a study"),
        (study.main, ["import"], "file=... is needed"),
        (study.main, ["analyse", "file=none.csv"], "none.csv: cannot be read as a table of answers"),
        (study.main, [], "no runs in"),
        (label.main, ["analyse"], "action=analyse: accepted are serve, export"),
        (label.main, ["export"], "run=<run id> begins it"),
        (label.main, ["run=v2-0"], "no runs in"),
        (demo.main, ["methods=[]"], "methods=[]: accepted are lists of blended_latent, diffedit"),
        (demo.main, ["ratio=2"], "ratio=2"),
    ],
)
def test_wrong_values_are_refused_in_one_line(
    main: Callable[[], int],
    words: list[str],
    said: str,
    run_script: RunScript,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = refusal(run_script, capsys, main, *words, f"results={tmp_path}")
    assert line.startswith("error: ")
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_refused_before_anything_is_promised(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(Exception, match="Address already in use"):
        web.serve(web.application(web.Pages(), None), "127.0.0.1", other.getsockname()[1], ["there"])
    assert capsys.readouterr().out == ""


def test_a_study_from_runs_to_its_analysis(
    run_script: RunScript, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark, results = make_benchmark(tmp_path / "benchmark"), tmp_path / "results"
    make_run(benchmark, results, Fade(0.7, fails=("sx1",)), "instructedit")
    make_run(benchmark, results, Fade(0.5, fails=("s0",)), "mdp")
    make_run(benchmark, results, Fade(0.6), "diffedit")

    def serve(app: object, host: str, port: int, lines: list[str]) -> None:
        """Take part in the study over the application instead of a socket."""
        print(*lines, sep="\n")
        client = TestClient(app, base_url="http://localhost")  # type: ignore[arg-type]
        visit = client.get("/").text.partition('name="visit" value="')[2].partition('"')[0]
        path = client.post("/join", data={"visit": visit, "consent": "yes"}, follow_redirects=False).headers["location"]
        for place in range(1, 6):
            assert client.post(f"{path}/{place}", data={"choice": "left"}).status_code == 200
        assert "All 5 answers are saved" in client.get(path).text
        assert client.post(f"{path}/1", data={"choice": "middle"}).status_code == 422
        assert client.post("/join", data={"visit": visit}).status_code == 422
        assert client.post("/join", content=b"x" * 70_000).status_code == 413
        assert (
            client.post(f"{path}/1", data={"choice": "left"}, headers={"sec-fetch-site": "cross-site"}).status_code
            == 403
        )
        assert client.get("/", headers={"host": "attacker.example"}).status_code == 400
        assert client.get("/docs").status_code == 404

    monkeypatch.setattr(web, "serve", serve)
    words = ["checks=0", f"results={results}"]
    assert run_script(study.main, *words) == 0
    assert "5 samples and 0 checks a participant" in capsys.readouterr().out
    assert run_script(study.main, *words, "question=Why?") == 2
    assert "this study began with question=Which image" in capsys.readouterr().err
    assert run_script(study.main, "export", *words) == 0
    assert run_script(study.main, "analyse", *words) == 0
    assert "InstructEdit preferred: 5 answers of 1 participants on" in " ".join(capsys.readouterr().out.split())
    assert run_script(study.main, "import", f"file={results / 'studies/study/mturk.csv'}", *words) == 0
    assert "0 answers added; the study had 5 of the others" in capsys.readouterr().out
    begun = UserStudy(results / "studies/study.sqlite")
    with begun.database.read() as db:
        begun.withdraw(db.execute("SELECT token FROM participants").fetchone()[0])
    for words_of, left in ((["export"], "answers.csv: 0 rows"), (["analyse"], "0 answers of 0 participants")):
        assert run_script(study.main, *words_of, *words) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert "1 participants have withdrawn; their 5 answers are left out" in out
        assert left in out
