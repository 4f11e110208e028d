"""The vision-language judge against a real HTTP server."""

import base64
import io
import json
import logging
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from eval.metrics.base import Metric, MetricUndefined
from eval.metrics.components.truth import Component, LanguageRight, SegmenterRight
from eval.metrics.components.vlm import (
    SIDE,
    VlmEditorRight,
    VlmJudge,
    VlmLanguageRight,
    VlmSegmenterRight,
    case_of,
    read_verdicts,
)
from eval.runs.plan import plan
from eval.runs.run import Run
from eval.runs.runner import Outcome, run
from eval.runs.store import RunStore
from instructedit.cache import StageCache
from instructedit.images import overlay
from instructedit.language.base import Reply
from instructedit.language.parse import ReplyError
from instructedit.models import Context, ModelPool
from instructedit.types import Captions, ConfigError, Decisions, EditResult, Sample, Tokens
from tests.eval.pictures import textured
from tests.eval.report.test_report import Change, Fade, Kept
from tests.eval.report.test_report import make_benchmark as report_benchmark
from tests.eval.runs.test_runner import make_plan
from tests.language_server import Answer, serve
from tests.test_conf import CONF

KEY = "sk-very-secret-0123456789"
SAMPLE = Sample("one", Path("one.png"), "Change the bigger\ncat to a lion")
VERDICTS = {"why": "The red misses an ear.", "language": True, "segmenter": False, "editor": True}
GOOD = json.dumps(VERDICTS)
SOURCE = textured(0, 64)
MASK = np.zeros((64, 64), bool)
MASK[:20] = True
DECISIONS = Decisions(segmentation_prompt="bigger cat", captions=Captions("photo of a cat", "photo of a lion"))
EDIT = EditResult("one", textured(1, 64), MASK, DECISIONS)
VERDICT_METRICS = (VlmLanguageRight, VlmSegmenterRight, VlmEditorRight)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def vlm(url: str, **settings: Any) -> VlmJudge:
    defaults = {
        "model": "m", "base_url": url, "revision": None, "temperature": 0.0, "max_tokens": 500, "timeout": 20.0,
        "max_retries": 0, "api_key_env": "OPENAI_API_KEY",
    }  # fmt: skip
    return VlmJudge(**(defaults | settings))


def hear(judge: VlmJudge, cache: Path | None = None) -> list[Component]:
    context = Context(ModelPool(), StageCache(cache), torch.device("cpu"))
    # As Hydra makes them: each with a judge of its own, of equal settings.
    return [metric(context, copy(judge)) for metric in VERDICT_METRICS]


def said(metrics: list[Component], edit: EditResult = EDIT, sample: Sample = SAMPLE) -> list[float | str]:
    """Return each metric's value, or the reason why it is undefined."""
    found: list[float | str] = []
    for metric in metrics:
        try:
            found.append(metric.score(sample, SOURCE, edit, None).value)
        except MetricUndefined as error:
            found.append(str(error))
    return found


def always(answer: Answer) -> Callable[[dict[str, Any], int], Answer]:
    return lambda body, n: answer


def shown(request: dict[str, Any]) -> tuple[list[Image.Image], str]:
    """Return the pictures and the text of a request."""
    pictures: list[Image.Image] = []
    texts: list[str] = []
    for part in request["messages"][1]["content"]:
        if part["type"] == "text":
            texts.append(part["text"])
        else:
            head, _, data = part["image_url"]["url"].partition(",")
            assert head == "data:image/png;base64"
            pictures.append(Image.open(io.BytesIO(base64.b64decode(data))))
    return pictures, "\n".join(texts)


def test_one_request_holds_three_pictures_and_the_texts_and_serves_three_metrics() -> None:
    with serve(always(Answer(GOOD))) as server:
        metrics = hear(vlm(server.url))
        assert [m.name for m in metrics] == ["language_right", "segmenter_right", "editor_right"]
        assert said(metrics) == [1.0, 0.0, 1.0]
        assert metrics[1].score(SAMPLE, SOURCE, EDIT, None).note == "The red misses an ear."
    (request,) = server.requests
    assert server.keys == [f"Bearer {KEY}"]
    assert (request["path"], request["model"], request["temperature"]) == ("/v1/chat/completions", "m", 0.0)
    pictures, text = shown(request)
    wanted = (SOURCE, overlay(SOURCE, MASK), EDIT.image)
    assert [p.tobytes() for p in pictures] == [p.tobytes() for p in wanted]
    assert "Instruction: Change the bigger cat to a lion\n" in text
    for own in ("Segmentation prompt: bigger cat", "Input caption: photo of a cat", "Edited caption: photo of a lion"):
        assert own in text
    schema = request["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert sorted(schema["schema"]["required"]) == ["editor", "language", "segmenter", "why"]


def test_large_pictures_are_sent_smaller_and_small_ones_as_they_are() -> None:
    large = Image.new("RGB", (2 * SIDE, SIDE))
    case = case_of(SAMPLE, large, EditResult("one", large))
    assert {p.size for p in case.pictures.values()} == {(SIDE, SIDE // 2)}
    assert {p.size for p in case_of(SAMPLE, SOURCE, EDIT).pictures.values()} == {(64, 64)}
    assert large.size == (2 * SIDE, SIDE)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{json.dumps(VERDICTS, indent=2)}\n```",
        f"Let me see {{it}}. {GOOD} I hope that helps!",
        '<think>{"language": false, "segmenter": false, "editor": false}</think>' + GOOD,
        '{"language": false, "segmenter": false, "editor": false} No, rather: ' + GOOD,
    ],
)
def test_verdicts_are_read_as_models_write_them(text: str) -> None:
    found = read_verdicts(Reply(text, is_cut=False), ("language", "segmenter", "editor"))
    assert found.right == {"language": True, "segmenter": False, "editor": True}
    assert found.why == "The red misses an ear."


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no JSON object"),
        ("All three are right.", "no JSON object"),
        (GOOD[:-4], "no JSON object"),
        ("[true, false, true]", "no JSON object"),
        ('{"language": true, "editor": true}', "true or false for segmenter"),
        ('{"language": "yes", "segmenter": 1, "editor": null}', "for language, segmenter, editor"),
        ('{"verdicts": ' + GOOD + "}", "for language, segmenter, editor"),
        ("{" * 5_000, "no JSON object"),
    ],
)
def test_what_is_no_verdict_is_none(text: str, named: str) -> None:
    with pytest.raises(ReplyError, match=named):
        read_verdicts(Reply(text, is_cut=False), ("language", "segmenter", "editor"))
    with pytest.raises(ReplyError, match="cut off"):
        read_verdicts(Reply(GOOD[:-4], is_cut=True), ("editor",))


@pytest.mark.parametrize(
    "refusal",
    [
        Answer(status=400, body='{"error": {"message": "This response_format type is unavailable now"}}'),
        Answer(status=422, body='{"detail": "extra fields not permitted"}'),
        Answer(status=500, body='{"error": {"message": "response_format type must be one of text or json_object"}}'),
    ],
)
def test_a_server_that_refuses_the_schema_is_asked_plainly_from_then_on(refusal: Answer) -> None:
    with serve(lambda body, n: refusal if "response_format" in body else Answer(f"Sure!\n{GOOD}")) as server:
        metrics = hear(vlm(server.url))
        assert said(metrics) == [1.0, 0.0, 1.0]
        assert said(metrics, replace(EDIT, image=SOURCE)) == [1.0, 0.0, 1.0]
    assert ["response_format" in request for request in server.requests] == [True, False, False]


def test_a_complaint_about_something_else_is_no_refusal_of_the_schema() -> None:
    def answer(body: dict[str, Any], n: int) -> Answer:
        return Answer(GOOD) if n > 1 else Answer(status=400, body='{"error": {"message": "no vision"}}')

    with serve(answer) as server:
        metrics = hear(vlm(server.url))
        first = said(metrics)
        assert all("no vision" in str(reason) for reason in first)
        assert said(metrics, replace(EDIT, image=SOURCE)) == [1.0, 0.0, 1.0]
    assert "response_format" in server.requests[-1]


def test_an_unreadable_reply_is_asked_for_once_more_with_what_it_lacks() -> None:
    with serve(lambda body, n: Answer(GOOD if n else "Looks fine to me.")) as server:
        assert said(hear(vlm(server.url))) == [1.0, 0.0, 1.0]
    first, second = (request["messages"] for request in server.requests)
    assert second[:2] == first
    assert second[2] == {"role": "assistant", "content": "Looks fine to me."}
    assert "no JSON object" in second[3]["content"]
    assert '"segmenter": true or false' in second[3]["content"]


def test_two_unreadable_replies_are_no_verdict_and_are_not_kept(tmp_path: Path) -> None:
    with serve(lambda body, n: Answer(f"Nonsense {n}\n" + "and so on " * 100)) as server:
        found = said(hear(vlm(server.url), tmp_path))
    assert len(server.requests) == 2
    assert len(set(found)) == 1
    assert "asked twice, and still the reply has no JSON object" in str(found[0])
    assert "Nonsense 1" in str(found[0])
    assert len(str(found[0])) < 300
    assert not list(tmp_path.rglob("*.json"))
    with serve(always(Answer(GOOD))) as server:
        assert said(hear(vlm(server.url), tmp_path)) == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (Answer(status=401, body=json.dumps({"error": {"message": f"Incorrect API key: {KEY}"}})), "Incorrect API key"),
        (Answer(status=404, body='{"error": {"message": "no model m"}}'), "no model m"),
        (Answer(status=429, body='{"error": {"message": "slow down"}}'), "slow down"),
        (Answer(status=502, body="<html>Oh</html>", content_type="text/html"), "502"),
        (Answer(body="<html>A web page</html>", content_type="text/html"), "not a chat completion"),
        (Answer(body='{"choices": []}'), "not a chat completion"),
        (Answer("", finish_reason="content_filter"), "refuses"),
        (Answer(GOOD, delay=1.0), "in time"),
    ],
)
def test_a_server_that_fails_gives_no_verdict_and_is_asked_again(
    bad: Answer, named: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(lambda body, n: Answer(GOOD) if n else bad) as server:
        judge = vlm(server.url, timeout=0.5)
        found = said(hear(judge, tmp_path))
        assert len(server.requests) == 1  # for all three
        assert said(hear(judge, tmp_path)) == [1.0, 0.0, 1.0]
    for reason in map(str, found):
        assert reason.startswith("no reply of the judge: m at 127.0.0.1")
        assert named in reason
        assert KEY not in reason
        assert "\n" not in reason
    (told,) = [r.getMessage() for r in caplog.records if r.name == "eval.metrics.vision"]
    assert str(found[0]) in told


def test_the_tokens_of_the_shared_request_are_counted_once(tmp_path: Path) -> None:
    with serve(always(Answer(GOOD, usage=(900, 40)))) as server:
        metrics = hear(vlm(server.url), tmp_path)
        tokens = [metric.score(SAMPLE, SOURCE, EDIT, None).tokens for metric in metrics]
    assert tokens == [Tokens(900, 40), None, None]
    assert hear(vlm(server.url), tmp_path)[0].score(SAMPLE, SOURCE, EDIT, None).tokens == Tokens()


def test_replies_are_recalled_with_no_server_and_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"Well:\n{GOOD}"
    with serve(always(Answer(text))) as server:
        said(hear(vlm(server.url), tmp_path))
    (kept,) = (tmp_path / "judge").rglob("*.json")
    assert json.loads(kept.read_bytes())["value"] == {"replies": [{"text": text, "is_cut": False}]}
    monkeypatch.delenv("OPENAI_API_KEY")
    # The URL of the server does not matter.
    assert said(hear(vlm("http://127.0.0.1:9/v1"), tmp_path)) == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("settings", "edit", "sample"),
    [
        ({"model": "other"}, EDIT, SAMPLE),
        ({"revision": "2"}, EDIT, SAMPLE),
        ({"temperature": None}, EDIT, SAMPLE),
        ({}, replace(EDIT, image=SOURCE), SAMPLE),
        ({}, replace(EDIT, mask=~MASK), SAMPLE),
        ({}, replace(EDIT, mask=None), SAMPLE),
        ({}, replace(EDIT, decisions=replace(DECISIONS, segmentation_prompt="cat")), SAMPLE),
        ({}, EDIT, replace(SAMPLE, instruction="Remove the cat")),
    ],
)
def test_what_the_reply_depends_on_is_asked_anew(
    settings: dict[str, Any], edit: EditResult, sample: Sample, tmp_path: Path
) -> None:
    with serve(always(Answer(GOOD))) as server:
        said(hear(vlm(server.url), tmp_path))
        said(hear(vlm(server.url, **settings), tmp_path), edit, sample)
    assert len(server.requests) == 2


def test_only_what_a_method_has_is_asked_about() -> None:
    with serve(always(Answer('{"why": "", "editor": true}'))) as server:
        bare = EditResult("one", EDIT.image)
        found = said(hear(vlm(server.url)), bare)
    assert found == ["the method has no language processor", "the method has no mask", 1.0]
    (request,) = server.requests
    pictures, text = shown(request)
    assert len(pictures) == 2
    assert "segment" not in text.lower()
    assert [*request["response_format"]["json_schema"]["schema"]["properties"]] == ["why", "editor"]


def test_pictures_of_other_sizes_are_not_judged() -> None:
    metrics = hear(vlm("http://127.0.0.1:9/v1"))
    assert all("64" in str(r) for r in said(metrics, replace(EDIT, image=textured(1, 32))))
    assert all("64" in str(r) for r in said(metrics, replace(EDIT, mask=MASK[:32])))


def test_without_a_key_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with serve(always(Answer(GOOD))) as server:
        with pytest.raises(ConfigError, match="judge=vlm: the environment variable OPENAI_API_KEY is empty"):
            said(hear(vlm(server.url)))
        monkeypatch.setenv("MY_KEY", "anything")
        assert said(hear(vlm(server.url, api_key_env="MY_KEY"))) == [1.0, 0.0, 1.0]
    assert server.keys == ["Bearer anything"]


def test_the_key_appears_nowhere(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    with serve(lambda body, n: Answer(GOOD) if n else Answer(status=401, body=json.dumps({"error": KEY}))) as server:
        judge = vlm(server.url)
        metrics = hear(judge, tmp_path)
        everything: list[object] = [*said(metrics), *said(metrics, replace(EDIT, image=SOURCE))]
    everything += [m.card() for m in metrics] + [vars(judge), vars(judge.server), vars(metrics[0])]
    everything += [path.read_text() for path in tmp_path.rglob("*.json")]
    assert len(server.requests) == 2
    assert KEY not in f"{everything}{caplog.text}"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"base_url": "localhost:8000/v1"}, r"judge\.base_url"),
        ({"base_url": ""}, r"judge\.base_url"),
        ({"base_url": "http://u:hidden@localhost/v1"}, r"judge\.base_url"),
        ({"model": None}, r"judge\.model"),
        ({"timeout": 0}, r"judge\.timeout"),
        ({"timeout": "long"}, r"judge\.timeout"),
        ({"max_retries": -1}, r"judge\.max_retries"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        vlm("http://localhost/v1", **settings)
    assert "hidden" not in str(caught.value)


def test_cards_say_who_judged_and_not_where() -> None:
    cards = [m.card() for m in hear(vlm("http://localhost:1/v1"))]
    assert [(c["judge"], c["model"]) for c in cards] == [("vlm", "m")] * 3
    assert all(len(c["prompt"]) == 16 for c in cards)
    assert [m.card_id for m in hear(vlm("http://localhost:2/v1"))] == [
        m.card_id for m in hear(vlm("http://localhost:1/v1"))
    ]
    assert hear(vlm("http://localhost:1/v1", model="other"))[0].card_id != hear(vlm("http://localhost:1/v1"))[0].card_id


class Counted(Change):
    """Counts how often it scores."""

    scored = 0

    def score(self, *args: Any) -> Any:
        type(self).scored += 1
        return super().score(*args)


def test_another_judge_makes_the_verdicts_anew_and_nothing_else(tmp_path: Path) -> None:
    benchmark, results = report_benchmark(tmp_path / "benchmark", 3), tmp_path / "results"
    counted = Counted()

    def report(verdicts: Sequence[Metric]) -> Outcome:
        made = replace(make_plan(benchmark, Fade(0.5, fails=("sx1",)), results), metrics=lambda: [counted, *verdicts])
        return run(made)

    def values(found: Run, name: str) -> list[float | None]:
        return (
            found.metrics[found.metrics["metric"] == name]["value"]
            .astype(object)
            .where(lambda v: v.notna(), None)
            .tolist()
        )

    by_truth = report([LanguageRight(), SegmenterRight(), Kept()])
    with serve(lambda body, n: Answer(GOOD) if n else Answer(status=503, body="{}")) as server:
        first = report(hear(vlm(server.url), tmp_path / "cache"))
        assert len(server.requests) == 2  # the first edit has no verdict, for now
        assert values(first.run, "editor_right") == [None, 1.0]
        again = report(hear(vlm(server.url), tmp_path / "cache"))
        assert len(server.requests) == 3
    offline = report(hear(vlm(server.url), tmp_path / "cache"))
    for found in (again.run, offline.run):
        assert values(found, "language_right") == [1.0, 1.0]
        assert values(found, "segmenter_right") == [0.0, 0.0]
    assert {o.run.run_id for o in (by_truth, first, again)} == {by_truth.run.run_id}
    assert (first.new, counted.scored) == (0, 2)
    kept = RunStore(results, by_truth.run.run_id).read_metrics()
    assert kept is not None
    verdicts = kept[kept["metric"] != counted.name]
    assert len(verdicts) == 6
    assert set(verdicts["card_id"]) == {c for c, card in offline.run.cards.items() if card.get("judge") == "vlm"}


def test_rows_of_a_judge_whose_verdicts_no_longer_apply_are_gone(tmp_path: Path) -> None:
    benchmark = report_benchmark(tmp_path / "benchmark", 2)
    unknown = tuple(replace(s, truth=replace(s.truth, mask=None)) for s in benchmark.samples)
    made = make_plan(replace(benchmark, samples=unknown), Fade(0.5), tmp_path / "results")
    with serve(always(Answer(GOOD))) as server:
        judged = run(replace(made, metrics=lambda: hear(vlm(server.url)))).run
    assert len(judged.metrics) == 6
    truth = run(replace(made, metrics=lambda: [LanguageRight(), SegmenterRight()])).run
    assert not len(truth.metrics)


def test_the_judge_is_no_part_of_a_runs_address(tmp_path: Path) -> None:
    ids, found = set(), []
    for choice in ("metric=paper", "judge=truth", "judge=vlm"):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("config", ["metric=components", choice, f"results={tmp_path}", "limit=1", "device=cpu"])
        made = plan(config)
        ids.add(made.run_id)
        found.append([m.card().get("judge") for m in made.metrics()][-3:])
    assert len(ids) == 1
    assert found[1:] == [["truth"] * 3, ["vlm"] * 3]


def test_a_wrong_setting_of_the_judge_is_named_before_anything_runs(tmp_path: Path) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["metric=components", "judge=vlm", "judge.base_url=here", f"results={tmp_path}"])
    with pytest.raises(Exception, match=r"judge\.base_url: 'here' is not a URL"):
        plan(config).method()
