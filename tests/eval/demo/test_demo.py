"""The demo without its page: results given by hand, on the shipped models with few steps."""

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
from eval.demo.session import Values, Wish, edit, first_prompts, prompts_of, told
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
    named = dict(told("InstructEdit", first))
    assert named["segmentation prompt"] == prompts.segmentation_prompt
    assert "box" in named
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


def test_a_failure_says_where() -> None:
    rows = told("InstructEdit", Failure("demo", "segmenter", "StageError", "no box for <b>x</b>"))
    assert rows == [("method", "InstructEdit"), ("failed", "segmenter: no box for <b>x</b>")]


@pytest.mark.parametrize("size", [(128, 128), (96, 128), (1200, 700)])
def test_a_mask_on_the_canvas_is_read_back(size: tuple[int, int]) -> None:
    page = pytest.importorskip("eval.demo.page", reason="gradio is not installed: it is in the extras `demo` and `dev`")
    mask = np.zeros((size[1], size[0]), dtype=bool)
    mask[size[1] // 4 : size[1] // 2, size[0] // 3 :] = True
    drawn = page._canvas(Image.new("RGB", size, "green"), mask)
    assert {layer.size for layer in (*drawn["layers"], drawn["background"])} == {(512, 512)}
    found = page._mask(drawn, size)
    assert found.shape == mask.shape
    assert (found != mask).mean() < 0.005
    with pytest.raises(ConfigError, match="the mask is empty"):
        page._mask(page._canvas(Image.new("RGB", size), None), size)
