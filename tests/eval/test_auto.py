"""``ratio=auto`` keeps, of each sample's edits, the one that the rule likes best."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_object, instantiate
from PIL import Image
from safetensors.torch import save_file

from eval.analysis.selection import COST, GAIN, Rule
from eval.auto import BestRatio, best_of
from eval.metrics.clip import ClipDirectional, directional_similarity
from eval.metrics.entries import load_metrics
from eval.metrics.lpips import Lpips, lpips_distance
from eval.runs.plan import best_ratio, full_size, wrapped
from instructedit.cache import StageCache
from instructedit.models import Context, ModelPool
from instructedit.types import Captions, ConfigError, Decisions, EditRequest, EditResult, Failure, Tokens
from tests.eval import tiny_clip
from tests.eval.metrics.test_lpips import random_backbone
from tests.eval.pictures import textured
from tests.test_conf import CONF

CAPTIONS = Captions("a cat", "a red dog")
SOURCE, GOAL = textured(1), textured(2)
REQUEST = EditRequest("one", SOURCE, "Change the cat to a red dog")


class Blend:
    """A method that goes a part of the way to a picture; above a strength it gives up."""

    def __init__(self, strength: float, gives_up: bool = False) -> None:
        self.strength, self.gives_up = strength, gives_up

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Blend."""
        if self.gives_up:
            message = f"no {self.strength}"
            return [Failure(r.id, "editor", "StageError", message, tokens=Tokens(30, 4)) for r in requests]
        decided = Decisions(captions=CAPTIONS)
        return [
            EditResult(
                r.id, Image.blend(r.image, GOAL, self.strength), None, decided,
                {"editor": 2.0}, {"edit": 5}, Tokens(30, 4),
            )
            for r in requests
        ]  # fmt: skip


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClipDirectional, Lpips]:
    folder = tmp_path_factory.mktemp("alexnet")
    save_file(random_backbone(), folder / "model.safetensors")
    return ClipDirectional(tiny_clip.scorer()), Lpips(folder, "random-alexnet", "1")


RATIOS = (0.2, 0.5, 0.8)


@pytest.mark.parametrize("weight", [0.0, 0.5, 50.0])
def test_it_keeps_what_the_rule_likes_best(metrics: tuple[ClipDirectional, Lpips], weight: float) -> None:
    directional, distance = metrics
    method = BestRatio({r: Blend(r) for r in RATIOS}, Rule(weight), lambda: metrics)
    (kept,) = method.edit([REQUEST])
    assert isinstance(kept, EditResult)
    likings = {}
    for ratio in RATIOS:
        picture, scorer = Image.blend(SOURCE, GOAL, ratio), directional.scorer
        before, after = scorer.text(CAPTIONS.input).features, scorer.text(CAPTIONS.edited).features
        gain = directional_similarity(scorer.image(SOURCE), scorer.image(picture), before, after)
        likings[ratio] = gain - weight * lpips_distance(distance.network, SOURCE, picture)
    best = max(likings, key=lambda r: likings[r])
    assert kept.decisions.ratio == best
    assert kept.image.tobytes() == Image.blend(SOURCE, GOAL, best).tobytes()
    if weight == 50.0:
        assert best == 0.2
    # All tries were made for it.
    assert kept.seconds == {"editor": 6.0}
    assert kept.evaluations == {"edit": 15}
    assert kept.tokens == Tokens(90, 12)


def test_a_ratio_that_fails_costs_itself_alone(metrics: tuple[ClipDirectional, Lpips]) -> None:
    tries = {0.2: Blend(0.2, gives_up=True), 0.5: Blend(0.5), 0.8: Blend(0.8, gives_up=True)}
    (kept,) = BestRatio(tries, Rule(0.5), lambda: metrics).edit([REQUEST])
    assert isinstance(kept, EditResult)
    assert kept.decisions.ratio == 0.5
    assert kept.tokens == Tokens(90, 12)
    none = BestRatio({r: Blend(r, gives_up=True) for r in RATIOS}, Rule(0.5), lambda: metrics)
    (failed,) = none.edit([REQUEST])
    assert isinstance(failed, Failure)
    assert failed.message == "no 0.2"
    assert failed.tokens == Tokens(90, 12)


def test_ratio_auto_is_a_choice_of_the_configuration() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        plain, auto = (compose("config", [f"ratio={ratio}"]) for ratio in ("0.7", "auto"))
        mdp = compose("config", ["ratio=auto", "method=mdp"])
        none = compose("config", ["ratio=auto", "auto.ratios=[]"])
    assert wrapped(plain) is plain or wrapped(plain).method == full_size(plain).method
    method = best_ratio(auto).method
    assert [m.editor.ratio for m in method.methods] == [0.3, 0.5, 0.7, 0.9]
    assert get_object(method._target_) is best_of
    # A method without a ratio is as it would be without: no try is made for nothing.
    assert best_ratio(mdp).method._target_ == "baselines.mdp.MDP"
    with pytest.raises(ConfigError, match=r"auto\.ratios=\[\]"):
        best_ratio(none)


def test_each_ratio_is_tried_once(tmp_path: Path) -> None:
    context = Context(ModelPool(), StageCache(tmp_path), torch.device("cpu"))
    with pytest.raises(ConfigError, match="once"):
        best_of(context, [lambda context: Blend(0.5)] * 2, [0.5, 0.5], 0.5, {})


def test_the_rules_metrics_are_entries(tmp_path: Path) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["ratio=auto", "auto.metrics.clip_directional.resize=crop"])
    context = Context(ModelPool(), StageCache(tmp_path), torch.device("cpu"))
    entries = instantiate(best_ratio(config).method.metrics, _convert_="all")
    made = {m.name: m for m in load_metrics(entries.values(), context)}
    gain, cost = made[GAIN], made[COST]
    assert isinstance(gain, ClipDirectional)
    assert isinstance(cost, Lpips)
    assert gain.resize == "crop"
