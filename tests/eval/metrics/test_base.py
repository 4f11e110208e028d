"""Cards and scores, which determine whether two numbers are comparable."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from eval.metrics.base import Card, Metric, MetricUndefined, Score, require_same_size
from eval.metrics.mask_iou import MaskIoU
from instructedit.types import Captions, EditResult, Sample
from tests.eval.pictures import SAMPLE, plain


class Brightness(Metric):
    """A minimal metric."""

    name = "brightness"
    unit = "grey value"
    bounds = (0.0, 255.0)
    higher_is_better = True

    def __init__(self, backbone: str) -> None:
        self.backbone = backbone

    def details(self) -> Card:
        return {"backbone": self.backbone}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        return Score(float(np.array(result.image).mean()))


def test_a_card_is_json_and_says_what_the_number_is() -> None:
    card = json.loads(json.dumps(Brightness("a").card()))
    expected = {"name": "brightness", "unit": "grey value", "bounds": [0.0, 255.0], "direction": "higher"}
    assert card == expected | {"backbone": "a"}


def test_equal_cards_have_one_id_and_other_cards_another() -> None:
    assert re.fullmatch("[0-9a-f]{12}", Brightness("a").card_id)
    assert Brightness("a").card_id == Brightness("a").card_id
    assert len({Brightness("a").card_id, Brightness("b").card_id, MaskIoU().card_id}) == 3


def test_a_metric_applies_to_every_sample_unless_it_says_otherwise() -> None:
    assert Brightness("a").applies(SAMPLE)
    assert not MaskIoU().applies(SAMPLE)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_score_is_finite(value: float) -> None:
    with pytest.raises(MetricUndefined, match="the value is"):
        Score(value)


def test_sizes_are_never_made_equal_in_silence() -> None:
    require_same_size(plain(0, 8), plain(255, 8))
    with pytest.raises(MetricUndefined, match=r"\(9, 9\), the source \(8, 8\)"):
        require_same_size(plain(0, 8), plain(0, 9))
