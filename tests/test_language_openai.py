"""The OpenAI backend against a real HTTP server."""

import json
import logging
import time
from typing import Any

import pytest

from instructedit.language import Parsed
from instructedit.language.openai import OpenAILanguage
from instructedit.types import Captions, ConfigError, StageError, Tokens
from tests.language_server import GOOD, Answer, openai_language, serve

KEY = "sk-very-secret-0123456789"
ASK = (["Change the dog to a cat"], [None])
FIELDS = {
    "segmentation_prompt": "Dog",
    "editing_prompt_1": "Photo of a dog",
    "editing_prompt_2": 'A sign that says "cat"',
}
JSON = Answer(json.dumps(FIELDS))
LACKING = Answer(json.dumps({k: v for k, v in FIELDS.items() if k != "editing_prompt_2"}))


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def language(server, **settings) -> OpenAILanguage:
    return openai_language(server.url, **settings)


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
        assert (request["model"], request["temperature"], request["max_tokens"]) == ("m", 0.0, 200)


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
        (Answer(body="<html>A web page</html>", content_type="text/html"), "not a chat completion"),
        (Answer(body='{"object": "chat.completion"}'), "not a chat completion"),
        (Answer(body='{"choices": []}'), "not a chat completion"),
        (Answer(body='{"choices": [{}]}'), "not a chat completion"),
        (Answer(body="{ not JSON"), "not a chat completion"),
        (Answer(body="[1]"), "not a chat completion"),
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
        openai_language(url)
    assert "hidden" not in str(caught.value)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(ConfigError):
        openai_language(None)


@pytest.mark.parametrize(("header", "least"), [({"Retry-After": "1"}, 1.0), ({"Retry-After-Ms": "30"}, 0.03)])
def test_a_rate_limit_is_waited_out_as_long_as_the_server_says(header, least):
    asked = []

    def answer(body, n):
        asked.append(time.monotonic())
        return Answer(status=429, body='{"error": {"message": "slow down"}}', headers=header) if n < 2 else Answer()

    with serve(answer) as server:
        [parsed] = language(server, max_retries=2).parse(*ASK)
    assert isinstance(parsed, Parsed)
    assert [later - earlier >= least for earlier, later in zip(asked, asked[1:], strict=False)] == [True, True]
    # Without the header, the package would wait for half a second, then a second, a random quarter less.
    assert asked[-1] - asked[0] < (3.0 if least == 1.0 else 1.0)


def test_a_rate_limit_that_lasts_costs_the_sample_only():
    limit = Answer(status=429, body='{"error": {"message": "slow down"}}', headers={"Retry-After-Ms": "1"})
    with serve(lambda body, n: limit) as server:
        [answer] = language(server, max_retries=3).parse(*ASK)
    assert len(server.requests) == 4
    assert isinstance(answer, StageError)
    assert "slow down" in str(answer)


def test_no_more_requests_at_a_time_than_allowed():
    under_way, most = [0], [0]

    def answer(body, n):
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        time.sleep(0.05)
        under_way[0] -= 1
        return Answer()

    with serve(answer) as server:
        language(server, concurrency=2).parse([f"Remove the a{i}" for i in range(6)], [None] * 6)
    assert most == [2]


@pytest.mark.parametrize("structured", ["auto", "always"])
def test_json_of_a_schema_is_asked_for_and_read(structured):
    with serve(lambda body, n: JSON) as server:
        answers = language(server, structured=structured).parse(
            ["Change the dog", "Change it"], [None, "Photo of a dog"]
        )
    wanted = Parsed("dog", Captions("Photo of a dog", 'A sign that says "cat"'), str(JSON.content))
    assert answers == [wanted, wanted]
    for request in server.requests:
        form = request["response_format"]
        assert form["type"] == "json_schema"
        schema = form["json_schema"]["schema"]
        assert form["json_schema"]["strict"] is True
        assert schema["properties"] == {name: {"type": "string"} for name in FIELDS}
        assert schema["required"] == list(FIELDS)
        assert schema["additionalProperties"] is False
        system, user = request["messages"]
        assert "Segmentation prompt: " not in system["content"]
        assert '{"segmentation_prompt": "Dog", "editing_prompt_1": "Photo of a dog"' in system["content"]
        assert user["content"].startswith("Change")


def test_without_structured_no_schema_is_sent():
    with serve(lambda body, n: JSON) as server:
        [answer] = language(server).parse(*ASK)
    assert "response_format" not in server.requests[0]
    assert "Segmentation prompt: Dog." in server.requests[0]["messages"][0]["content"]
    assert isinstance(answer, Parsed)  # a model may reply in JSON without being asked to


REFUSALS = [
    (400, {"error": {"message": "This model takes no such parameter"}}),
    (404, {"error": {"message": "No endpoint supports structured output"}}),
    (422, {"detail": "Unexpected fields in the request: {'response_format'}"}),
    (500, {"error": {"message": "response_format is not implemented"}}),
    (501, {"error": {"message": "not implemented"}}),
]


@pytest.mark.parametrize(("status", "body"), REFUSALS)
def test_a_server_that_refuses_schemas_is_asked_in_the_papers_template(status, body, caplog):
    refusal = Answer(status=status, body=json.dumps(body))
    with serve(lambda sent, n: refusal if "response_format" in sent else Answer()) as server:
        processor = language(server, structured="auto")
        first = processor.parse([f"Remove the dog {i}" for i in range(5)], [None] * 5)
        asked = len(server.requests)
        second = processor.parse(*ASK)
    wanted = Parsed("dog", Captions("Photo of a dog", "Photo of a cat"), GOOD)
    assert first + second == [wanted] * 6
    assert 6 <= asked <= 10  # as many refusals as were under way
    *_, last = server.requests[asked:]
    assert len(server.requests) == asked + 1
    assert "response_format" not in last
    assert "Segmentation prompt: Dog." in last["messages"][0]["content"]
    [line] = [record.getMessage() for record in caplog.records if record.name.startswith("instructedit")]
    assert "language=openai: asking without response_format from now on" in line
    assert next(iter(body.values()))["message" if "error" in body else slice(None)] in line


def test_a_refusal_stands_where_json_is_demanded():
    refusal = Answer(status=422, body='{"detail": "Unexpected fields in the request: response_format"}')
    with serve(lambda body, n: refusal if "response_format" in body else Answer()) as server:
        [answer] = language(server, structured="always").parse(*ASK)
    assert len(server.requests) == 1
    assert isinstance(answer, StageError)
    assert "Unexpected fields in the request: response_format" in str(answer)


def test_a_request_that_is_bad_in_itself_does_not_speak_against_schemas(caplog):
    bad = Answer(status=400, body='{"error": {"message": "too long"}}')
    with serve(lambda body, n: bad if "dog" in body["messages"][1]["content"] else JSON) as server:
        processor = language(server, structured="auto")
        [failed] = processor.parse(*ASK)
        [fine] = processor.parse(["Remove the cat"], [None])
    assert isinstance(failed, StageError)
    assert isinstance(fine, Parsed)
    assert ["response_format" in request for request in server.requests] == [True, False, True]
    assert not [record for record in caplog.records if record.name.startswith("instructedit")]


@pytest.mark.parametrize("structured", ["auto", "always"])
def test_json_that_lacks_a_field_is_asked_for_once_more_then_a_failure(structured):
    with serve(lambda body, n: LACKING) as server:
        [answer] = language(server, structured=structured).parse(*ASK)
    assert len(server.requests) == 2
    *_, said, again = server.requests[1]["messages"]
    assert said == {"role": "assistant", "content": LACKING.content}
    assert 'no text in "editing_prompt_2"' in again["content"]
    assert '{"segmentation_prompt": "Dog", ' in again["content"]
    assert "Segmentation prompt: Dog" not in again["content"]
    assert isinstance(answer, StageError)
    assert 'asked twice, and still the reply has no text in "editing_prompt_2"' in str(answer)
    with serve(lambda body, n: JSON if n else LACKING) as server:
        [answer] = language(server, structured=structured).parse(*ASK)
    assert isinstance(answer, Parsed)


def test_where_json_is_demanded_the_template_does_not_do():
    with serve(lambda body, n: JSON if n else Answer()) as server:
        [answer] = language(server, structured="always").parse(*ASK)
    assert isinstance(answer, Parsed)
    assert "no JSON object" in server.requests[1]["messages"][3]["content"]


def tokens(server_answers: list[Answer], **settings: Any) -> Tokens | None:
    with serve(lambda body, n: server_answers[n]) as server:
        [answer] = language(server, **settings).parse(*ASK)
    return answer.tokens


def test_tokens_are_counted_of_both_replies_and_of_failures():
    first, second = Answer("Nonsense", usage=(300, 7)), Answer(usage=(340, 40))
    assert tokens([second]) == Tokens(340, 40)
    assert tokens([first, second]) == Tokens(640, 47)
    assert tokens([first, first]) == Tokens(600, 14)
    assert tokens([first, Answer(status=400, body="{}")]) == Tokens(300, 7)
    assert tokens([Answer(status=400, body="{}")]) is None
    assert tokens([Answer(usage=None)]) is None
    assert tokens([first, Answer(usage=None)]) == Tokens(300, 7)
    assert tokens([Answer(body=json.dumps(json.loads(Answer().bytes()) | {"usage": {}}))]) is None


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ({"model": ""}, "language.model=: accepted is the server's name for a model"),
        ({"structured": "json"}, "language.structured=json: accepted are auto, always, never"),
        ({"timeout": 0}, "language.timeout=0: accepted are seconds above 0"),
        ({"max_retries": -1}, "language.max_retries=-1: accepted are whole numbers from 0 on"),
        ({"concurrency": 0}, "language.concurrency=0: accepted are whole numbers from 1 on"),
    ],
)
def test_a_wrong_setting_is_named(setting, line):
    with pytest.raises(ConfigError) as caught:
        openai_language("http://localhost/v1", **setting)
    assert str(caught.value) == line


def test_what_decides_answers_is_in_the_identity_and_nothing_else():
    base = dict(openai_language("http://localhost/v1").identity)
    for other in ({"structured": "auto"}, {"revision": "q4"}, {"temperature": 1.0}, {"max_tokens": 9}, {"model": "n"}):
        assert openai_language("http://localhost/v1", **other).identity != base
    idle = {"timeout": 1.0, "max_retries": 5, "concurrency": 1, "api_key_env": "OTHER"}
    assert openai_language("http://elsewhere/v1", **idle).identity == base
