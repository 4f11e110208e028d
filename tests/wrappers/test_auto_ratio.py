"""``wrapper=auto_ratio`` keeps the edit with the highest score for each sample."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from safetensors.torch import save_file

from eval.analysis.selection import COST, GAIN, EditScorer, Rule
from eval.metrics.clip import ClipDirectional
from eval.metrics.lpips import Lpips
from eval.runs.plan import plan
from instructedit.cache import StageCache
from instructedit.editor import Edited, MaskGuidedEditor
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import (
    Captions,
    ConfigError,
    Decisions,
    EditRequest,
    EditResult,
    Failure,
    Method,
    Sample,
    Tokens,
)
from instructedit.wrappers.auto_ratio import AutoRatio
from tests import tiny
from tests.eval import tiny_clip
from tests.eval.metrics.test_lpips import random_backbone
from tests.eval.pictures import textured
from tests.test_conf import CONF

CAPTIONS = Captions("a cat", "a red dog")
SOURCE, GOAL = textured(1), textured(2)
SAMPLE = Sample("one", Path(), "Change the cat to a red dog")
REQUEST = EditRequest("one", SOURCE, "Change the cat to a red dog")


class Blend(Method):
    """A method that blends with a picture by the ratio, and fails at some ratios."""

    takes_ratio = True

    def __init__(self, context: Context, fails_at: Sequence[float] = ()) -> None:
        self.fails_at, self.asked = fails_at, list[float | None]()

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Blend."""
        self.asked += [r.ratio for r in requests]
        return [self._edit(r, r.ratio or 0.0) for r in requests]

    def _edit(self, request: EditRequest, ratio: float) -> EditResult | Failure:
        if ratio in self.fails_at:
            return Failure(request.id, "editor", "StageError", f"no {ratio}", tokens=Tokens(30, 4))
        return EditResult(
            request.id, Image.blend(request.image, GOAL, ratio), None, Decisions(captions=CAPTIONS),
            {"editor": 2.0}, {"edit": 5}, Tokens(30, 4),
        )  # fmt: skip


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClipDirectional, Lpips]:
    folder = tmp_path_factory.mktemp("alexnet")
    save_file(random_backbone(), folder / "model.safetensors")
    return ClipDirectional(tiny_clip.scorer()), Lpips(folder, "random-alexnet", "1")


RATIOS = (0.2, 0.5, 0.8)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(ModelPool(), StageCache(tmp_path), torch.device("cpu"))


def scorer(metrics: tuple[ClipDirectional, Lpips], weight: float) -> EditScorer:
    made = EditScorer.__new__(EditScorer)
    made.rule, made._metrics = Rule(weight), lambda: list(metrics)  # type: ignore[assignment]
    return made


def auto(
    context: Context, scored: EditScorer, ratios: Sequence[float] = RATIOS, fails_at: Sequence[float] = ()
) -> AutoRatio:
    return AutoRatio(context, partial(Blend, fails_at=fails_at), ratios, lambda context: scored)


@pytest.mark.parametrize("weight", [0.0, 0.5, 50.0])
def test_it_keeps_the_edit_with_the_highest_score(
    metrics: tuple[ClipDirectional, Lpips], weight: float, context: Context
) -> None:
    directional, distance = metrics
    (kept,) = auto(context, scorer(metrics, weight)).edit([REQUEST])
    assert isinstance(kept, EditResult)
    scores = {}
    for ratio in RATIOS:
        edit = EditResult("one", Image.blend(SOURCE, GOAL, ratio))
        gain, cost = (m.score(SAMPLE, SOURCE, edit, CAPTIONS).value for m in (directional, distance))
        scores[ratio] = gain - weight * cost
    best = max(scores, key=lambda r: scores[r])
    assert kept.decisions.ratio == best
    assert kept.image.tobytes() == Image.blend(SOURCE, GOAL, best).tobytes()
    if weight == 50.0:
        assert best == 0.2
    # All tries were made for it.
    assert kept.seconds == {"editor": 6.0}
    assert kept.evaluations == {"edit": 15}
    assert kept.tokens == Tokens(90, 12)


def test_a_ratio_that_fails_leaves_the_others(metrics: tuple[ClipDirectional, Lpips], context: Context) -> None:
    (kept,) = auto(context, scorer(metrics, 0.5), fails_at=(0.2, 0.8)).edit([REQUEST])
    assert isinstance(kept, EditResult)
    assert kept.decisions.ratio == 0.5
    assert kept.tokens == Tokens(90, 12)
    (failed,) = auto(context, scorer(metrics, 0.5), fails_at=RATIOS).edit([REQUEST])
    assert isinstance(failed, Failure)
    assert failed.message == "no 0.2"
    assert failed.tokens == Tokens(90, 12)


def test_a_method_without_a_ratio_is_asked_once(metrics: tuple[ClipDirectional, Lpips], context: Context) -> None:
    class Fixed(Blend):
        takes_ratio = False

    wrapper = AutoRatio(context, Fixed, RATIOS, lambda context: scorer(metrics, 0.5))
    (kept,) = wrapper.edit([REQUEST])
    assert isinstance(kept, EditResult)
    assert kept.decisions.ratio is None
    assert wrapper.method.asked == [None]  # type: ignore[attr-defined]


def test_the_wrapper_is_a_choice_of_the_configuration(tmp_path: Path) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        plain, chosen = (compose("config", [f"results={tmp_path}", *o]) for o in ([], ["wrapper=auto_ratio"]))
    run, wrapped = plan(plain), plan(chosen)
    assert run.run_id != wrapped.run_id
    assert wrapped.label == "instructedit ratio=auto"
    wrapper = wrapped.method().method  # type: ignore[attr-defined]
    assert isinstance(wrapper, AutoRatio)
    assert wrapper.ratios == (0.3, 0.5, 0.7, 0.9)
    scored_by = {m.name: type(m) for m in wrapper.scorer._metrics()}  # type: ignore[attr-defined]
    assert scored_by == {COST: Lpips, GAIN: ClipDirectional}


@pytest.mark.parametrize(
    ("ratios", "line"),
    [
        ([], r"auto\.ratios=\[\]: at least one"),
        ([0.5, 0.5], "each ratio is accepted once"),
        ([0.5, 1.5], r"auto\.ratios=1\.5: accepted are numbers above 0"),
    ],
)
def test_wrong_ratios_are_named(
    ratios: list[float], line: str, metrics: tuple[ClipDirectional, Lpips], context: Context
) -> None:
    with pytest.raises(ConfigError, match=line):
        auto(context, scorer(metrics, 0.5), ratios)


def test_the_editor_follows_the_ratio_of_each_request(tmp_path: Path, context: Context) -> None:
    checkpoint = Checkpoint(str(tiny.save_diffusion(tmp_path / "sd")))
    requests = [EditRequest(str(i), tiny.picture(0), "x", CAPTIONS, ratio=r) for i, r in enumerate((0.9, None, 0.9))]
    masks = [tiny.square_mask()] * 3
    answers = MaskGuidedEditor(context, checkpoint, 0.5, steps=10).edit(requests, [CAPTIONS] * 3, masks)
    alone = MaskGuidedEditor(context, checkpoint, 0.9, steps=10).edit(requests[:1], [CAPTIONS], masks[:1])
    assert [a.evaluations["edit"] for a in answers if isinstance(a, Edited)] == [
        18,
        10,
        0,
    ]  # the third is the first, cached
    assert isinstance(answers[0], Edited)
    assert isinstance(answers[2], Edited)
    assert isinstance(alone[0], Edited)
    assert np.abs(np.asarray(answers[0].image).astype(int) - np.asarray(alone[0].image)).max() <= 1
    assert answers[0].image.tobytes() == answers[2].image.tobytes()
