"""Free text and paths reach a command as they were typed, whatever Hydra's grammar makes of them."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st

from instructedit.types import ConfigError
from scripts.arguments import overrides

CONF = str(Path(__file__).resolve().parents[1] / "conf")
KEYS = ("image", "instruction")
TEXTS = [
    "Turn the cat's hat red, please", "Add a hat, a scarf and glasses", "What if the cat were a dog?", "Remove it!",
    "Change [the] {cat} (now)", "Ändere die Katze in einen Löwen", "把猫变成狮子", "Pay ${price} for $HOME", "a\\",
    "a\\'b", 'Make it "vintage"', "C:\\photos\\cat.png", "key=value", "true", "1e5", "${oc.env:HOME}", "50 %",
    "a\\${x}", "~+-", "'", "'quoted' and 'quoted'", "line\nbreak", "trailing space ", "#1: the cat", "@home", "*.png",
]  # fmt: skip


def told(*arguments: str) -> dict[str, str]:
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("edit", overrides(arguments, KEYS, KEYS))
        return {key: str(config[key]) for key in KEYS}


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_taken_as_it_is(text: str) -> None:
    assert told(f"image={text}", f"instruction={text}") == {"image": text, "instruction": text}


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1))
def test_any_text_is_taken_as_it_is(text: str) -> None:
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and text[0] not in text[1:-1]
    given = overrides([f"instruction={text}"], KEYS)
    if text == "null" or is_quoted:
        return
    with initialize_config_dir(CONF, version_base="1.3"):
        assert str(compose("edit", given).instruction) == text


def test_two_arguments_may_stand_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told("cat.png", "Turn the hat red, please") == {
        "image": "cat.png",
        "instruction": "Turn the hat red, please",
    }
    assert told("image=a,b.png", "Make x = 3")["instruction"] == "Make x = 3"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ratio=0.5.png").touch()
    assert told("ratio=0.5.png", "x y")["image"] == "ratio=0.5.png"
    with pytest.raises(ConfigError, match="'third' has no key; accepted without one: image and instruction"):
        told("a.png", "x y", "third")
    with pytest.raises(ConfigError, match="'b c' has no key; accepted without one: instruction"):
        overrides(["a.png", "b c", "image=d.png"], KEYS, ("image", "instruction"))
    assert overrides(["--config-dir", "conf", "-m", "ratio=0.5,0.7"], KEYS, KEYS) == [
        "--config-dir", "conf", "-m", "ratio=0.5,0.7",
    ]  # fmt: skip


def test_quotes_that_hydra_asks_for_are_taken_off_and_paths_need_none() -> None:
    assert told("image='my cat.png'", "instruction=\"Change it, now\"") == {
        "image": "my cat.png", "instruction": "Change it, now",
    }  # fmt: skip
    assert overrides(["results=my results (new)"]) == ["results='my results (new)'"]
    assert overrides(["results=a,b", "-m"]) == ["-m", "results=a,b"]  # a sweep
    assert overrides(["results=a (1),b", "-m"]) == ["-m", "results='a (1),b'"]
    assert overrides(["labels=null", "ratio=0.5"]) == ["labels=null", "ratio=0.5"]


def test_options_may_stand_anywhere() -> None:
    arguments = ["ratio=0.5,0.7", "-m", "limit=2", "--config-dir", "my=conf", "seed=1", "--cfg", "job"]
    moved = ["-m", "--config-dir", "my=conf", "--cfg", "job", "ratio=0.5,0.7", "limit=2", "seed=1"]
    assert overrides(arguments) == moved
