"""VIEScore and GIE-Bench's question, against a real HTTP server and a tiny model of the real classes."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from eval.analysis.usage import JUDGE, usages
from eval.metrics.base import Metric, MetricUndefined
from eval.metrics.question import QuestionRight
from eval.metrics.viescore import VieMetric, VieOverall, VieQuality, VieSemantic, VieSpread
from eval.metrics.vision import LocalVision, ServerVision, user_turn
from eval.runs.run import read_run
from eval.runs.runner import run
from eval.runs.store import RunStore
from instructedit.cache import StageCache
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import ConfigError, EditResult, Question, Sample, Tokens, Truth
from tests.eval import tiny_clip
from tests.eval.metrics.test_vlm import shown as pictures_of
from tests.eval.pictures import textured
from tests.eval.runs.test_runner import Invert, make_benchmark, make_plan
from tests.language_server import Answer, Server, serve

SAMPLE = Sample("one", Path("one.png"), "Change the cat\nto a lion")
SOURCE, EDIT = textured(0, 48), EditResult("one", textured(1, 48))
KINDS: tuple[type[VieMetric], ...] = (VieOverall, VieSemantic, VieQuality, VieSpread)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def server_model(url: str, **settings: Any) -> ServerVision:
    defaults = {
        "model": "m", "base_url": url, "revision": None, "temperature": 0.0, "max_tokens": 500, "timeout": 20.0,
        "max_retries": 0, "api_key_env": "OPENAI_API_KEY",
    }  # fmt: skip
    return ServerVision(**(defaults | settings))


def context(cache: Path | None = None) -> Context:
    return Context(ModelPool(), StageCache(cache), torch.device("cpu"))


def metrics(url: str, cache: Path | None = None, repeats: int = 1, **settings: Any) -> list[VieMetric]:
    where, scale, prompts = context(cache), settings.pop("scale", 10), settings.pop("prompts", None)
    return [kind(where, server_model(url, **settings), repeats, scale, prompts) for kind in KINDS]


def values(found: list[VieMetric], edit: EditResult = EDIT) -> list[float | str]:
    """Return each metric's value, or the reason why it is undefined."""
    results: list[float | str] = []
    for metric in found:
        if not metric.applies(SAMPLE):
            continue
        try:
            results.append(metric.score(SAMPLE, SOURCE, edit, None).value)
        except MetricUndefined as error:
            results.append(str(error))
    return results


def scores(*sub_scores: float) -> str:
    return json.dumps({"reasoning": "Seen.", "score": list(sub_scores)})


def is_semantic(body: Mapping[str, Any]) -> bool:
    return sum(part["type"] == "image_url" for part in body["messages"][0]["content"]) == 2


def rated(semantic: list[str], quality: list[str]) -> Callable[[dict[str, Any], int], Answer]:
    """Answer with the texts in turn, by question; the last one is repeated."""
    left = {True: list(semantic), False: list(quality)}

    def answer(body: dict[str, Any], n: int) -> Answer:
        texts = left[is_semantic(body)]
        return Answer(texts.pop(0) if len(texts) > 1 else texts[0], usage=(100, 7))

    return answer


def test_the_overall_score_is_the_root_of_the_minima(tmp_path: Path) -> None:
    with serve(rated([scores(8, 6)], [scores(9, 4)])) as server:
        found = metrics(server.url, tmp_path)
        assert values(found)[:3] == [pytest.approx(math.sqrt(6 * 4)), 6.0, 4.0]
    assert len(server.requests) == 2  # four metrics share them
    semantic, quality = server.requests
    parts = semantic["messages"][0]["content"]
    assert "Editing instruction: Change the cat to a lion" in parts[0]["text"]
    assert "<instruction>" not in parts[0]["text"]
    assert [p["type"] for p in parts] == ["text", "image_url", "image_url"]
    assert "instruction" not in quality["messages"][0]["content"][0]["text"]
    assert semantic["response_format"]["json_schema"]["schema"]["required"] == ["reasoning", "score"]
    assert not found[3].applies(SAMPLE)


def test_an_edit_is_judged_several_times_and_the_spread_is_a_metric() -> None:
    with serve(rated([scores(8, 6), scores(4, 9), scores(6, 6)], [scores(9, 4), scores(4, 4), scores(9, 9)])) as server:
        found = metrics(server.url, repeats=3)
        overall = [math.sqrt(6 * 4), math.sqrt(4 * 4), math.sqrt(6 * 9)]
        assert values(found) == pytest.approx([sum(overall) / 3, 16 / 3, 17 / 3, stdev(overall)])
        note = found[0].score(SAMPLE, SOURCE, EDIT, None).note
    assert note == "judged 3 times: 4.90, 4.00, 7.35; first: Seen."
    assert len(server.requests) == 6
    assert [r.get("seed") for r in server.requests] == [None, None, 1, 1, 2, 2]
    assert found[3].applies(SAMPLE)
    assert found[0].card()["judged"].startswith("3 times")


BAD = {
    "filtered": Answer("", finish_reason="content_filter"),
    "server error": Answer(status=500, body='{"error": {"message": "out of memory"}}'),
    "no JSON": Answer("I am sorry, I cannot rate this."),
    "out of range": Answer(scores(11, 5)),
    "negative": Answer(scores(-1, 5)),
    "texts": Answer('{"score": ["8", "6"]}'),
    "truth values": Answer('{"score": [true, true]}'),
    "empty": Answer('{"score": []}'),
    "NaN": Answer('{"score": [NaN, 5]}'),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_failed_or_filtered_reply_is_no_value_and_is_not_kept(bad: str, tmp_path: Path) -> None:
    def answer(body: dict[str, Any], n: int) -> Answer:
        return BAD[bad] if is_semantic(body) else Answer(scores(9, 4))

    with serve(answer) as server:
        found = values(metrics(server.url, tmp_path, repeats=2))
    assert len(set(found)) == 1
    assert isinstance(found[0], str)
    assert "judge" in found[0]
    stored = [json.loads(path.read_bytes())["value"]["replies"][0]["text"] for path in tmp_path.rglob("*.json")]
    assert set(stored) <= {scores(9, 4)}
    with serve(rated([scores(8, 6)], [scores(9, 4)])) as server:
        assert values(metrics(server.url, tmp_path))[1:3] == [6.0, 4.0]


def test_an_unreadable_reply_is_asked_for_once_more(tmp_path: Path) -> None:
    with serve(rated(["Eight of ten.", scores(8, 6)], [scores(9, 4)])) as server:
        first, *rest = metrics(server.url, tmp_path)
        score = first.score(SAMPLE, SOURCE, EDIT, None)
        assert values(rest[:1]) == [6.0]
    assert score.tokens == Tokens(300, 21)
    assert [len(r["messages"]) for r in server.requests] == [1, 3, 1]
    assert "no JSON object" in server.requests[1]["messages"][2]["content"]


def test_replies_are_replayed_with_no_server_and_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(rated([scores(8, 6)], [scores(9, 4)])) as server:
        first = metrics(server.url, tmp_path, repeats=2)
        tokens = [metric.score(SAMPLE, SOURCE, EDIT, None).tokens for metric in first]
    assert tokens == [Tokens(400, 28), None, None, None]
    monkeypatch.delenv("OPENAI_API_KEY")
    again = metrics("http://127.0.0.1:9/v1", tmp_path, repeats=2)
    assert values(again) == values(first)
    fresh = metrics("http://127.0.0.1:9/v1", tmp_path, repeats=2)
    assert fresh[0].score(SAMPLE, SOURCE, EDIT, None).tokens == Tokens()
    with pytest.raises(ConfigError, match="vlm=openai: the environment variable OPENAI_API_KEY is empty"):
        values(metrics(server.url, tmp_path, repeats=3))


def test_the_quality_of_an_edit_is_asked_once_for_all_instructions(tmp_path: Path) -> None:
    with serve(rated([scores(8, 6)], [scores(9, 4)])) as server:
        (metric, *_) = metrics(server.url, tmp_path)
        for instruction in ("Change it", "Remove it"):
            metric.score(Sample("two", Path("one.png"), instruction), SOURCE, EDIT, None)
    assert [is_semantic(request) for request in server.requests] == [True, False, True]


def test_scores_of_another_scale_are_converted(tmp_path: Path) -> None:
    with serve(rated([scores(20, 25)], [scores(5)])) as server:
        found = metrics(server.url, scale=25)
        assert values(found)[:3] == pytest.approx([math.sqrt(8 * 2), 8.0, 2.0])
        assert "0 to 25" in server.requests[0]["messages"][0]["content"][0]["text"]
    assert metrics(server.url)[0].card_id != found[0].card_id


def test_prompts_of_a_folder_are_sent_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"viescore.prompts: .*semantic.txt: no such file; a text is expected"):
        metrics("http://localhost/v1", prompts=str(tmp_path))
    (tmp_path / "semantic.txt").write_text("Rate: <instruction>")
    (tmp_path / "quality.txt").write_text("Rate it.")
    with serve(rated([scores(8, 6)], [scores(9, 4)])) as server:
        found = metrics(server.url, prompts=str(tmp_path))
        values(found)
    texts = [request["messages"][0]["content"][0]["text"] for request in server.requests]
    assert texts == ["Rate: Change the cat to a lion", "Rate it."]
    assert metrics(server.url)[0].card_id != found[0].card_id
    (tmp_path / "semantic.txt").write_text("Rate it.")
    with pytest.raises(ConfigError, match="<instruction> is expected in it"):
        metrics("http://localhost/v1", prompts=str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"repeats": 0}, "viescore.repeats=0"),
        ({"scale": 2.5}, "viescore.scale=2.5"),
        ({"model": ""}, "vlm.model="),
        ({"prices": {"prompt": -1, "completion": 1}}, "vlm.prices.prompt=-1"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        metrics("http://localhost/v1", **settings)


def test_a_runs_tokens_and_their_cost_are_counted(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "benchmark", 3)
    plan = make_plan(benchmark, Invert(fails=("s2",)), tmp_path)

    def made(server: Server) -> list[Metric]:
        return list(metrics(server.url, tmp_path / "cache", repeats=2))

    with serve(rated([scores(8, 6)], [scores(9, 4)])) as server:
        outcome = run(type(plan)(**(vars(plan) | {"metrics": lambda: made(server)})))
    assert outcome.run.failed == 1
    stored = RunStore(tmp_path, plan.run_id)
    assert [(j.metric, j.model, j.tokens) for j in stored.read_judged()] == [
        ("viescore", "m", Tokens(400, 28)), ("viescore", "m", Tokens(400, 28)),
    ]  # fmt: skip
    own = read_run(stored)
    priced = {"vlm": {"model": "m", "prices": {"prompt": 10.0, "completion": 100.0}}}
    (usage,) = [u for u in usages([type(own)(**(vars_of(own) | {"config": priced}))]) if u.role == JUDGE]
    assert (usage.model, usage.asked, usage.kept, usage.tokens) == ("m", 2, 0, Tokens(800, 56))
    assert usage.cost == pytest.approx((10 * 800 + 100 * 56) / 1e6)
    with (stored.folder / "judged.jsonl").open("ab") as file:
        file.write(b'{"sample_id": "torn')
    assert len(stored.read_judged()) == 2


def vars_of(own: Any) -> dict[str, Any]:
    return {name: getattr(own, name) for name in own.__dataclass_fields__}


# GIE-Bench's question

ASKED = Sample(
    "q", Path("q.png"), "Make it white", truth=Truth(question=Question("What colour?", ("White", "Brown."), "White"))
)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"answer": "White"}', 1.0),
        ('{"answer": "white."}', 1.0),
        ('{"answer": "Brown"}', 0.0),
        ('{"answer": "Black"}', None),
        ("White", None),
    ],
)
def test_a_question_is_answered_by_one_of_its_options(reply: str, value: float | None, tmp_path: Path) -> None:
    with serve(lambda body, n: Answer(reply)) as server:
        metric = QuestionRight(context(tmp_path), server_model(server.url))
        if value is None:
            with pytest.raises(MetricUndefined, match="asked twice, and still"):
                metric.score(ASKED, SOURCE, EDIT, None)
            assert not list(tmp_path.rglob("*.json"))
        else:
            assert metric.score(ASKED, SOURCE, EDIT, None).value == value
    text = server.requests[0]["messages"][0]["content"][2]["text"]
    assert "Question: What colour?\nOptions: White; Brown." in text
    assert metric.applies(ASKED)
    assert not metric.applies(SAMPLE)


# A model on this machine

TEMPLATE = (
    "{% for turn in messages %}{% for part in turn['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
)


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Save a LlavaForConditionalGeneration of a few thousand parameters with its processor."""
    folder = tmp_path_factory.mktemp("llava")
    tokenizer = tiny_clip.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}),
        tokenizer=tokenizer, patch_size=8, vision_feature_select_strategy="default", chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )  # fmt: skip
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(
            LlavaConfig(
                vision_config=CLIPVisionConfig(**tower, image_size=16, patch_size=8),
                text_config=LlamaConfig(**tower, vocab_size=len(tokenizer), max_position_embeddings=4096),
                image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            )
        )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return Checkpoint(str(folder))


def turns(*pictures: Image.Image) -> list[dict[str, Any]]:
    return [user_turn("a b", *pictures)]


def test_a_local_models_reply_is_the_one_of_a_call_by_hand(llava: Checkpoint) -> None:
    model = LocalVision(llava, 0.0, 6)
    reply = model.ask(context(), turns(SOURCE, EDIT.image), {}, 0)
    processor = LlavaProcessor.from_pretrained(llava.id)
    by_hand = LlavaForConditionalGeneration.from_pretrained(llava.id).eval()
    inputs = processor(text="a b<image><image>", images=[SOURCE, EDIT.image], return_tensors="pt")
    tokens = by_hand.generate(**inputs, max_new_tokens=6, do_sample=False)[0]
    asked = inputs["input_ids"].shape[1]
    assert reply.text == processor.decode(tokens[asked:], skip_special_tokens=True)
    assert reply.tokens == Tokens(asked, len(tokens) - asked)


def test_a_local_models_samples_differ_by_attempt_and_are_repeatable(llava: Checkpoint) -> None:
    model, where = LocalVision(llava, 1.0, 12), context()
    state = torch.get_rng_state()
    replies = [model.ask(where, turns(SOURCE), {}, attempt).text for attempt in (0, 1, 0)]
    assert replies[0] == replies[2]
    assert replies[0] != replies[1]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_local_model_that_says_nothing_useful_gives_no_value(llava: Checkpoint) -> None:
    metric = VieOverall(context(), LocalVision(llava, 0.0, 4), 1, 10, None)
    with pytest.raises(MetricUndefined, match="the judge was asked twice, and still"):
        metric.score(SAMPLE, SOURCE, EDIT, None)
    assert metric.card()["vlm"]["revision"] == llava.version
    with pytest.raises(ConfigError, match="vlm.temperature=-1"):
        LocalVision(llava, -1, 4)


def test_pictures_are_shown_as_they_are() -> None:
    with serve(rated([scores(8, 6)], [scores(9, 4)])) as server:
        values(metrics(server.url)[:1])
    first = {"messages": [None, server.requests[0]["messages"][0]]}
    assert [p.tobytes() for p in pictures_of(first)[0]] == [SOURCE.tobytes(), EDIT.image.tobytes()]
