"""Cached replies replace the language model."""

from instructedit.cache import StageCache
from instructedit.language import Parsed, RulesLanguage, cached
from instructedit.types import StageError, Tokens
from tests.language_server import GOOD, Answer, openai_language, serve

ASK = (["Change the dog to a cat", "Change it to a cat"], [None, "Photo of a dog"])


def test_a_kept_reply_needs_neither_server_nor_key(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(lambda body, n: Answer()) as server:
        first = cached(openai_language(server.url), StageCache(tmp_path)).parse(*ASK)
        assert len(server.requests) == 2
        assert cached(openai_language(server.url), StageCache(tmp_path)).parse(*ASK) == first
        assert len(server.requests) == 2
    monkeypatch.delenv("OPENAI_API_KEY")
    again = cached(openai_language("http://127.0.0.1:9/v1"), StageCache(tmp_path)).parse(*ASK)
    assert again == first
    assert [getattr(answer, "reply", answer) for answer in again] == [GOOD] * 2


def test_other_settings_are_other_replies(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    cache = StageCache(tmp_path)
    with serve(lambda body, n: Answer()) as server:
        for processor in [
            openai_language(server.url),
            openai_language(server.url, temperature=0.6),
            openai_language(server.url, max_tokens=99),
            openai_language(server.url, revision="q4"),
            openai_language(server.url, structured="auto"),
        ]:
            cached(processor, cache).parse(ASK[0][:1], [None])
        cached(openai_language(server.url, model="other"), cache).parse(ASK[0][:1], [None])
        cached(openai_language(server.url), cache).parse(ASK[0][:1], ["Photo of a dog"])
    assert len(server.requests) == 7


def test_failures_are_not_kept_and_a_question_is_asked_once_a_batch(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(lambda body, n: Answer(status=400, body="{}") if n == 0 else Answer()) as server:
        processor = cached(openai_language(server.url), StageCache(tmp_path))
        twice = processor.parse(["Remove the dog"] * 2, [None] * 2)
        assert [type(answer) for answer in twice] == [StageError] * 2
        assert len(server.requests) == 1
        assert [type(answer) for answer in processor.parse(["Remove the dog"] * 2, [None] * 2)] == [Parsed] * 2
        assert len(server.requests) == 2


def test_the_rules_survive_the_cache_as_well(tmp_path):
    instructions = ["Color the white scarf pink", "Abracadabra", "Remove the dog on the left"]
    plain = RulesLanguage().parse(instructions, [None] * 3)
    for _ in range(2):
        answers = cached(RulesLanguage(), StageCache(tmp_path)).parse(instructions, [None] * 3)
        assert (answers[0], answers[2]) == (plain[0], plain[2])
        assert str(answers[1]) == str(plain[1])
    assert cached(RulesLanguage(), StageCache(None)).identity == RulesLanguage().identity


def test_a_kept_reply_costs_nothing_and_a_question_is_paid_for_once_a_batch(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(lambda body, n: Answer(usage=(300, 40)) if n else Answer(status=400, body="{}")) as server:
        processor = cached(openai_language(server.url), StageCache(tmp_path))
        [failed] = processor.parse(["Remove the dog"], [None])
        assert failed.tokens is None
        asked = processor.parse(["Remove the dog", "Remove the cat", "Remove the dog"], [None] * 3)
        assert [answer.tokens for answer in asked] == [Tokens(300, 40), Tokens(300, 40), Tokens()]
        kept = processor.parse(["Remove the cat", "Remove the bird"], [None] * 2)
        assert [answer.tokens for answer in kept] == [Tokens(), Tokens(300, 40)]


def test_a_kept_reply_in_json_is_read_as_such(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    said = '{"segmentation_prompt": "Dog", "editing_prompt_1": "Photo of a d\\u00f6g", "editing_prompt_2": "A cat."}'
    with serve(lambda body, n: Answer(said)) as server:
        first = cached(openai_language(server.url, structured="always"), StageCache(tmp_path)).parse(*ASK)
    again = cached(openai_language("http://127.0.0.1:9/v1", structured="always"), StageCache(tmp_path)).parse(*ASK)
    assert again == first
    assert [getattr(answer, "reply", answer) for answer in again] == [said] * 2


def test_a_refusal_and_an_answer_without_an_edit_are_asked_once_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    same = 'Segmentation prompt: Dog. Editing prompt 1: "Photo of a dog". Editing prompt 2: "Photo of a dog".'
    with serve(lambda body, n: Answer(same if n else "Not an edit I can express.", usage=(300, 40))) as server:
        processor = cached(openai_language(server.url), StageCache(tmp_path))
        [refused] = processor.parse(["Rotate the dog"], [None])
        assert str(refused) == 'the language model refused; the reply was "Not an edit I can express."'
        assert refused.tokens == Tokens(300, 40)
        [unedited] = processor.parse(["Turn the dog into a dog"], [None])
        assert isinstance(unedited, StageError)
        assert 'asks for no edit: both captions are "Photo of a dog"' in str(unedited)
        assert len(server.requests) == 2
        processor.parse(["Rotate the dog"], [None])
        assert len(server.requests) == 3
