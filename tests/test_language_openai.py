"""The OpenAI backend against a real HTTP server."""

import json
import logging

import pytest

from instructedit.language import OpenAILanguage, Parsed
from instructedit.types import Captions, ConfigError, StageError
from tests.language_server import GOOD, Answer, serve

KEY = "sk-very-secret-0123456789"
ASK = (["Change the dog to a cat"], [None])


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def language(server, **settings) -> OpenAILanguage:
    return OpenAILanguage("m", server.url, **{"timeout": 20.0, "max_retries": 0, **settings})


def test_asks_and_parses():
    with serve(lambda body, n: Answer()) as server:
        answers = language(server).parse(["Change the dog to a cat", "Change it"], [None, "Photo of a dog"])
    wanted = Parsed("dog", Captions("Photo of a dog", "Photo of a cat"), GOOD)
    assert answers == [wanted, wanted]
    assert {request["path"] for request in server.requests} == {"/v1/chat/completions"}
    assert server.keys == [f"Bearer {KEY}"] * 2
    users = sorted(request["messages"][1]["content"] for request in server.requests)
    assert users == ["Change it\nDescription: Photo of a dog", "Change the dog to a cat"]
    for request in server.requests:
        assert (request["model"], request["temperature"], request["max_tokens"]) == ("m", 0.6, 200)


def test_answers_stay_in_order_whatever_the_order_of_arrival():
    def answer(body, n):
        thing = body["messages"][1]["content"].split()[-1]
        late = 0.3 if thing == "a0" else 0.0
        return Answer(GOOD.replace("Dog", thing), delay=late)

    with serve(answer) as server:
        answers = language(server).parse([f"Remove the a{i}" for i in range(6)], [None] * 6)
    assert [getattr(a, "segmentation_prompt", a) for a in answers] == [f"a{i}" for i in range(6)]


def test_limits_that_a_model_refuses_are_not_sent():
    with serve(lambda body, n: Answer()) as server:
        language(server, temperature=None, max_tokens=None).parse(*ASK)
    assert not {"temperature", "max_tokens"} & server.requests[0].keys()


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (Answer("As a language model I..."), "Segmentation prompt"),
        (Answer(None), "Segmentation prompt"),
        (Answer(GOOD[:-10], finish_reason="length"), "cut off"),
    ],
)
def test_a_bad_reply_is_asked_for_once_more(bad, named):
    with serve(lambda body, n: bad if n == 0 else Answer()) as server:
        [answer] = language(server).parse(*ASK)
    assert isinstance(answer, Parsed)
    first, second = (request["messages"] for request in server.requests)
    assert [turn["role"] for turn in second] == ["system", "user", "assistant", "user"]
    assert second[:2] == first
    assert named in second[3]["content"]


def test_two_bad_replies_are_a_failure_that_quotes_the_last():
    with serve(lambda body, n: Answer(f"Nonsense {n} " + "and so on " * 100)) as server:
        [answer] = language(server).parse(*ASK)
    assert len(server.requests) == 2
    assert isinstance(answer, StageError)
    assert answer.stage == "language"
    assert "Nonsense 1" in str(answer)
    assert len(str(answer)) < 300


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (Answer(status=401, body=json.dumps({"error": {"message": f"Incorrect API key: {KEY}"}})), "Incorrect API key"),
        (Answer(status=404, body='{"error": {"message": "no model m"}}'), "no model m"),
        (Answer(status=429, body='{"error": {"message": "slow down"}}'), "slow down"),
        (Answer(status=502, body="<html>Oh</html>", content_type="text/html"), "502"),
        (Answer(body="<html>A web page</html>", content_type="text/html"), "no chat completion"),
        (Answer(body='{"object": "chat.completion"}'), "no chat completion"),
        (Answer(body='{"choices": []}'), "no chat completion"),
        (Answer(body='{"choices": [{}]}'), "no chat completion"),
        (Answer(body="{ not JSON"), "no chat completion"),
        (Answer(body="[1]"), "no chat completion"),
        (Answer("", finish_reason="content_filter"), "refuses"),
    ],
)
def test_what_a_server_does_wrong_costs_the_sample_only(bad, named):
    def answer(body, n):
        return bad if "dog" in body["messages"][1]["content"] else Answer()

    with serve(answer) as server:
        failed, fine = language(server).parse(["Remove the dog", "Remove the cat"], [None, None])
    assert isinstance(fine, Parsed)
    assert isinstance(failed, StageError)
    assert failed.stage == "language"
    assert named in str(failed)
    assert KEY not in str(failed)
    assert "\n" not in str(failed)


def test_a_slow_server_and_an_absent_one():
    with serve(lambda body, n: Answer(delay=1.0)) as server:
        [slow] = language(server, timeout=0.2).parse(*ASK)
    [absent] = language(server).parse(*ASK)
    assert isinstance(slow, StageError)
    assert "in time" in str(slow)
    assert isinstance(absent, StageError)
    assert "no connection" in str(absent)
    assert "127.0.0.1" in str(absent)


def test_a_server_that_fails_once_is_asked_again():
    with serve(lambda body, n: Answer(status=500, body="{}") if n == 0 else Answer()) as server:
        [answer] = language(server, max_retries=1).parse(*ASK)
    assert isinstance(answer, Parsed)
    assert len(server.requests) == 2


@pytest.mark.parametrize("value", [None, "", "  "])
def test_without_a_key_nothing_is_asked(value, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    if value is not None:
        monkeypatch.setenv("OPENAI_API_KEY", value)
    with serve(lambda body, n: Answer()) as server:
        with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
            language(server).parse(*ASK)
        monkeypatch.setenv("MY_KEY", "anything")
        [answer] = language(server, api_key_env="MY_KEY").parse(*ASK)
    assert isinstance(answer, Parsed)
    assert server.keys == ["Bearer anything"]


def test_the_key_appears_nowhere(caplog):
    caplog.set_level(logging.DEBUG)
    with serve(lambda body, n: Answer(status=400, body=json.dumps({"error": KEY}))) as server:
        processor = language(server)
        [answer] = processor.parse(*ASK)
    said = f"{answer} {answer!r} {processor!r} {vars(processor).keys()} {dict(processor.identity)}"
    assert KEY not in said + caplog.text


@pytest.mark.parametrize("url", ["http://u:hidden@localhost/v1", "http://localhost/v1?key=hidden", "localhost:8000/v1"])
def test_a_url_that_is_none_or_holds_a_secret_is_refused(url, monkeypatch):
    with pytest.raises(ConfigError, match=r"language\.base_url") as caught:
        OpenAILanguage("m", url)
    assert "hidden" not in str(caught.value)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(ConfigError):
        OpenAILanguage("m")
