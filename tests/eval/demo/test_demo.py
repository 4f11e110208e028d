"""The demo without its page: results given by hand, on the shipped models with few steps."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from PIL import Image
from scipy.ndimage import binary_dilation

from eval.benchmarks.base import load_benchmark
from eval.demo.session import Values, Wish, edit, first_prompts, prompts_of
from eval.demo.steps import render, steps
from instructedit.applications.given import Prompts, with_given
from instructedit.images import load_image
from instructedit.models import Context
from instructedit.types import Captions, ConfigError, EditResult, Failure, Method
from scripts.app import CONF

ROOT = Path(__file__).resolve().parents[3]
FEW = {"instructedit": "method.editor.steps=6", "diffedit": "method.steps=6"}
VALUES = {"ratio": 0.7, "theta": 0.5, "dilate": 0}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Build methods of the shipped models."""
    context = Context.create(tmp_path_factory.mktemp("demo") / "cache", "cpu", None, None)

    @cache
    def built(name: str, values: tuple[tuple[str, float], ...]) -> Method:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            overrides = [f"method={name}", FEW[name], *(f"{k}={v}" for k, v in values)]
            config = compose("demo", overrides)
        method: Method = instantiate(config.wrapper, _convert_="all")(context=context)
        return method

    def call(name: str, values: Values) -> Method:
        return built(name, tuple(values.items()))

    return call


@pytest.fixture(scope="module")
def wish() -> Wish:
    samples = load_benchmark(ROOT / "data/picturebook/benchmark").samples
    sample = next(s for s in samples if s.id == "same_02_oranges_to_apples")
    return Wish(load_image(sample.image), sample.instruction, 0, VALUES)


@pytest.mark.slow
def test_only_what_follows_a_given_result_runs_again(build: Any, wish: Wish) -> None:
    first = edit(build, "instructedit", wish)
    assert isinstance(first, EditResult)
    assert first.mask is not None
    prompts = first_prompts([first])
    assert prompts is not None
    told = steps(wish.image, first)
    assert [step.title for step in told] == ["Prompts", "Boxes", "Mask", "Edit"]
    assert told[0].texts["segmentation prompt"] == prompts.segmentation_prompt
    assert told[-1].texts["NFE"].endswith("from the cache")
    # The same mask by hand: the same edit, from the cache, without a box.
    again = edit(build, "instructedit", Wish(wish.image, wish.instruction, 0, VALUES, prompts, first.mask))
    assert isinstance(again, EditResult)
    assert again.image.tobytes() == first.image.tobytes()
    assert sum(again.evaluations.values()) == 0
    assert (again.decisions.boxes, again.decisions.reply) == ((), "given by hand")
    # Another mask: far from both masks, each edit is the autoencoder's reconstruction of the picture.
    mask = np.zeros_like(first.mask)
    mask[:64] = True
    masked = edit(build, "instructedit", Wish(wish.image, wish.instruction, 0, VALUES, prompts, mask))
    assert isinstance(masked, EditResult)
    assert (np.asarray(masked.mask) == mask).all()
    far = ~binary_dilation(first.mask | mask, iterations=16)
    assert far.sum() > 500
    before, after = np.asarray(first.image, int), np.asarray(masked.image, int)
    assert abs(before - after)[far].max() <= 1
    assert abs(before - after)[mask].max() > 30
    # Other prompts: another thing is found.
    lemon = Prompts("lemon", Captions("photo of a lemon", "photo of a cake"))
    other = edit(build, "instructedit", Wish(wish.image, wish.instruction, 0, VALUES, lemon))
    assert other.decisions.segmentation_prompt == "lemon"
    if isinstance(other, EditResult):
        assert other.image.tobytes() != first.image.tobytes()
    else:
        assert other.stage == "segmenter"


@pytest.mark.slow
def test_a_baseline_takes_the_captions_that_are_given(build: Any, wish: Wish) -> None:
    with pytest.raises(ConfigError, match="diffedit needs both captions"):
        edit(build, "diffedit", wish)
    captions = Captions("photo of oranges", "photo of apples")
    outcome = edit(build, "diffedit", Wish(wish.image, wish.instruction, 0, VALUES, Prompts("oranges", captions)))
    assert isinstance(outcome, EditResult)
    method = build("diffedit", VALUES)
    assert type(with_given(method, Prompts("x", captions)).method) is type(method.method)  # type: ignore[attr-defined]


def test_a_wrong_value_is_named(build: Any, wish: Wish) -> None:
    with pytest.raises(ConfigError, match="ratio=0"):
        edit(build, "instructedit", Wish(wish.image, wish.instruction, 0, VALUES | {"ratio": 0}))


def test_prompts_are_all_given_or_none() -> None:
    assert prompts_of(" ", "", " ") is None
    assert prompts_of("cat", "", "") is None
    assert prompts_of(" cat ", "a cat", "a lion") == Prompts("cat", Captions("a cat", "a lion"))
    with pytest.raises(ConfigError, match="both captions are needed"):
        prompts_of("cat", "a cat", "")


def test_a_failure_says_where_and_all_text_is_escaped() -> None:
    picture = Image.new("RGB", (32, 32))
    failure = Failure("demo", "segmenter", "StageError", "no box for <b>x</b>\x07")
    (step,) = steps(picture, failure)
    assert (step.title, step.texts, step.has_failed) == ("No edit", {"failed: segmenter": failure.message}, True)
    page = render(picture, {"instructedit": failure})
    assert "InstructEdit" in page
    assert "no box for &lt;b&gt;x&lt;/b&gt;\\x07" in page


@pytest.fixture
def editor() -> Any:
    return pytest.importorskip(
        "eval.demo.mask_editor", reason="gradio is not installed: it is in the extras `demo` and `dev`"
    )


SIZES = [(128, 128), (96, 128), (1200, 700)]


@pytest.mark.parametrize("size", SIZES)
def test_a_mask_that_is_drawn_is_read_back(editor: Any, size: tuple[int, int]) -> None:
    mask = np.zeros((size[1], size[0]), dtype=bool)
    mask[size[1] // 4 : size[1] // 2, size[0] // 3 :] = True
    shown = editor.Shown("k", Image.new("RGB", size, "green"), mask)
    value = editor.to_editor(shown)
    assert (editor.from_editor(value, shown, shown.image) == mask).all()
    drawn = editor.from_editor(value | {"is_drawn": True}, shown, shown.image)
    assert drawn.shape == mask.shape
    assert (drawn != mask).mean() < 0.005


def test_a_mask_of_another_result_or_picture_is_refused(editor: Any) -> None:
    picture, mask = Image.new("RGB", (64, 48), "green"), np.ones((48, 64), dtype=bool)
    first, second = (editor.Shown(key, picture, mask) for key in ("first", "second"))
    stale = editor.to_editor(first) | {"is_drawn": True}
    assert editor.from_editor(stale, first, picture).all()
    with pytest.raises(ConfigError, match="belongs to an earlier edit"):
        editor.from_editor(stale, second, picture)
    with pytest.raises(ConfigError, match="the picture is another one"):
        editor.from_editor(stale, first, Image.new("RGB", (64, 48), "red"))
    for value, shown in ((None, first), (stale, None)):
        with pytest.raises(ConfigError, match="no mask yet"):
            editor.from_editor(value, shown, picture)


def test_an_empty_or_broken_mask_is_refused(editor: Any) -> None:
    picture = Image.new("RGB", (64, 48), "green")
    shown = editor.Shown("k", picture, None)
    value = editor.to_editor(shown)
    for is_drawn in (False, True):
        with pytest.raises(ConfigError, match="the mask is empty"):
            editor.from_editor(value | {"is_drawn": is_drawn}, shown, picture)
    other = editor.to_editor(editor.Shown("k", Image.new("RGB", (48, 64)), None))
    with pytest.raises(ConfigError, match="the mask has 384x512 pixels"):
        editor.from_editor(other | {"is_drawn": True}, shown, picture)
    for broken in ("data:image/png;base64,AAAA", "no picture", None, value["mask"][:90]):
        with pytest.raises(ConfigError, match="cannot be read as a PNG"):
            editor.from_editor(value | {"is_drawn": True, "mask": broken}, shown, picture)


def test_what_is_wrong_with_a_request_is_one_line(editor: Any, build: Any, wish: Wish) -> None:
    answers = pytest.importorskip("eval.demo.answers")

    def lines(**changes: Any) -> list[str]:
        click = answers.Click(wish.image, wish.instruction, ["instructedit"], VALUES, 0)
        found = list(answers.answers(build, replace(click, **changes), None))
        assert found[-1].kind == "wrong"
        assert found[-1].shown is None
        return [answer.line for answer in found]

    assert "are needed" in lines(image=None)[-1]
    assert "are needed" in lines(methods=[])[-1]
    assert lines(takes_mask=True)[-1].startswith("Not edited: there is no mask yet")
    assert lines(prompts=["cat", "a cat", ""])[-1].startswith("Not edited: the segmentation prompt and both captions")
    assert lines(methods=["diffedit"])[-1].startswith("Not edited: diffedit needs both captions")
    assert lines(values=VALUES | {"ratio": 0})[-1].startswith("Not edited: ratio=0")
