"""CLIP score and directional similarity: arithmetic, truncation, and undefined values."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from eval.metrics.base import MetricUndefined
from eval.metrics.clip import ClipDirectional, ClipScore, TransformersClip, cosine, directional_similarity
from eval.runs.runner import run
from eval.runs.store import RunStore
from instructedit.types import Captions, ConfigError
from tests.eval import tiny_clip
from tests.eval.pictures import SAMPLE, plain, result, textured
from tests.eval.runs.test_runner import Invert, make_benchmark, make_plan
from tests.eval.tiny_clip import WINDOW

CAPTIONS = Captions("photo of a cat", "photo of a dog")
LONG = "a small yellow dog on green grass"


@pytest.fixture(scope="module")
def scorer() -> TransformersClip:
    return tiny_clip.scorer()


def vector(*values: float) -> Float[Tensor, " d"]:
    return torch.tensor(values, dtype=torch.float64)


def test_cosine_identity_worst_case_and_known_value() -> None:
    assert cosine(vector(3, 4), vector(6, 8)) == pytest.approx(1, abs=1e-15)
    assert cosine(vector(3, 4), vector(-3, -4)) == pytest.approx(-1, abs=1e-15)
    assert cosine(vector(1, 0), vector(3, 4)) == pytest.approx(0.6, abs=1e-15)


def test_directional_identity_worst_case_and_known_value() -> None:
    east, north = vector(1, 0), vector(0, 1)
    assert directional_similarity(east, north, east, north) == pytest.approx(1, abs=1e-15)
    assert directional_similarity(east, north, north, east) == pytest.approx(-1, abs=1e-15)
    # (-1, 1) against (-1, 0): half a right angle.
    diagonal = directional_similarity(east, north, vector(0.6, 0.8), vector(-0.4, 0.8))
    assert diagonal == pytest.approx(0.5**0.5, abs=1e-12)


def test_score_does_not_look_at_the_source(scorer: TransformersClip) -> None:
    metric = ClipScore(scorer)
    first = metric.score(SAMPLE, plain(0), result(textured(1)), CAPTIONS)
    assert first == metric.score(SAMPLE, plain(255), result(textured(1)), replace(CAPTIONS, input="other"))
    assert -100 <= first.value <= 100
    assert metric.higher_is_better


def test_score_is_raw_where_torchmetrics_would_clamp(scorer: TransformersClip) -> None:
    values = [
        ClipScore(scorer).score(SAMPLE, plain(0), result(textured(seed)), Captions("", word)).value
        for seed in range(4)
        for word in ("cat", "dog", "zebra", "horse")
    ]
    assert min(values) < 0 < max(values)


def test_features_have_unit_length_and_are_computed_once(scorer: TransformersClip) -> None:
    image, text = textured(7), scorer.text("zebra")
    assert float(scorer.image(image).norm()) == pytest.approx(1, abs=1e-12)
    assert float(text.features.norm()) == pytest.approx(1, abs=1e-12)
    assert scorer.image(image) is scorer.image(image.copy())
    assert scorer.text("zebra") is text


def test_a_long_caption_keeps_its_end_token_and_says_so(scorer: TransformersClip) -> None:
    """A caption that is truncated by hand has the same features."""
    tokens = scorer.tokenizer(LONG).input_ids
    assert len(tokens) > WINDOW
    kept = torch.tensor([[*tokens[: WINDOW - 1], scorer.tokenizer.eos_token_id]])
    with torch.inference_mode():
        expected = scorer.model.get_text_features(kept).pooler_output[0].double()
    text = scorer.text(LONG)
    assert cosine(text.features, expected) == pytest.approx(1, abs=1e-9)
    assert text.note == f"caption truncated to {WINDOW} tokens, it has {len(tokens)}"
    assert ClipScore(scorer).score(SAMPLE, plain(0), result(textured(1)), Captions("", LONG)).note == text.note
    assert scorer.text("cat").note == ""


def test_the_row_of_a_truncated_caption_says_so(scorer: TransformersClip, tmp_path: Path) -> None:
    """From the metric through the runner to ``metrics.parquet``."""
    benchmark = make_benchmark(tmp_path / "benchmark", 2)
    first, second = (
        replace(s, captions=c) for s, c in zip(benchmark.samples, (CAPTIONS, Captions("", LONG)), strict=True)
    )
    plan = make_plan(replace(benchmark, samples=(first, second)), Invert(), tmp_path)
    report = run(replace(plan, metrics=lambda: [ClipScore(scorer)])).run
    stored = RunStore(tmp_path, report.run_id).read_metrics()
    assert stored is not None
    for frame in (report.metrics, stored):
        notes = frame.set_index("sample_id")["note"]
        assert notes["s0"] == ""
        assert notes["s1"].startswith(f"caption truncated to {WINDOW} tokens")


def test_a_cut_caption_is_noted_once_a_text(scorer: TransformersClip) -> None:
    captions = Captions("cat", LONG)
    note = ClipDirectional(scorer).score(SAMPLE, textured(1), result(textured(2)), captions).note
    assert note == scorer.text(LONG).note


@pytest.mark.parametrize(
    ("captions", "edited_seed", "reason"),
    [
        (None, 2, "no captions"),
        (Captions("a cat", "a cat"), 2, "two captions are the same"),
        (Captions(LONG + " here", LONG + " there"), 2, "two captions are the same"),
        (CAPTIONS, 1, "two images are the same"),
    ],
)
def test_directional_says_why_there_is_no_value(
    scorer: TransformersClip, captions: Captions | None, edited_seed: int, reason: str
) -> None:
    with pytest.raises(MetricUndefined, match=reason):
        ClipDirectional(scorer).score(SAMPLE, textured(1), result(textured(edited_seed)), captions)


def test_an_edit_at_the_end_of_a_wide_photo_has_a_direction(scorer: TransformersClip) -> None:
    """Only ``squeeze`` depends on the ends of a wide picture."""
    source = textured(1).resize((192, 64))
    edited = source.copy()
    edited.paste(textured(2).resize((48, 64)), (0, 0))
    with pytest.raises(MetricUndefined, match="two images are the same"):
        ClipDirectional(scorer, "crop").score(SAMPLE, source, result(edited), CAPTIONS)
    assert -1 <= ClipDirectional(scorer).score(SAMPLE, source, result(edited), CAPTIONS).value <= 1


def test_the_card_names_the_resize(scorer: TransformersClip) -> None:
    cards = {resize: ClipScore(scorer, resize).card()["resize"] for resize in ("crop", "squeeze")}
    assert cards["crop"]["by"] == "CLIPImageProcessorPil"
    assert "rounded down" in cards["crop"]["centre crop"]["offset"]
    assert cards["squeeze"]["resample"] == "bicubic, no antialiasing"
    assert ClipDirectional(scorer).card()["resize"] == cards["squeeze"]
    assert ClipScore(scorer).card()["resize"] == cards["crop"]
    with pytest.raises(ConfigError, match="accepted are crop, squeeze"):
        ClipScore(scorer, "stretch")


def test_score_without_captions_has_no_value(scorer: TransformersClip) -> None:
    with pytest.raises(MetricUndefined, match="no captions"):
        ClipScore(scorer).score(SAMPLE, plain(0), result(textured(1)), None)


def test_a_folder_gives_the_same_numbers_and_card(scorer: TransformersClip, tmp_path: Path) -> None:
    scorer.model.save_pretrained(tmp_path)
    scorer.image_processor.save_pretrained(tmp_path)
    scorer.tokenizer.save_pretrained(tmp_path)
    loaded = TransformersClip.from_folder(tmp_path, "tiny-clip", "1")
    arguments = SAMPLE, textured(1), result(textured(2)), CAPTIONS
    for metric in (ClipScore, ClipDirectional):
        # Not exactly equal, because loading selects its own attention kernel.
        assert metric(loaded).score(*arguments).value == pytest.approx(metric(scorer).score(*arguments).value, abs=1e-4)
        assert metric(loaded).card_id == metric(scorer).card_id
        assert str(tmp_path) not in json.dumps(metric(loaded).card())
    assert ClipScore(scorer).card_id != ClipDirectional(scorer).card_id


def test_another_revision_is_another_card(scorer: TransformersClip) -> None:
    other = TransformersClip(scorer.model, scorer.image_processor, scorer.tokenizer, "tiny-clip", "2")
    assert ClipScore(other).card_id != ClipScore(scorer).card_id


def test_a_model_that_would_pool_elsewhere_is_refused() -> None:
    with pytest.raises(ConfigError, match="reads a caption at token 7"):
        TransformersClip(tiny_clip.model(7), tiny_clip.image_processor(), tiny_clip.tokenizer(), "tiny-clip", "1")
    # The id 2 of OpenAI's configurations means the highest id, which ends a caption here too.
    legacy = TransformersClip(tiny_clip.model(2), tiny_clip.image_processor(), tiny_clip.tokenizer(), "tiny-clip", "1")
    assert cosine(legacy.text("cat").features, tiny_clip.scorer().text("cat").features) == pytest.approx(1, abs=1e-12)
