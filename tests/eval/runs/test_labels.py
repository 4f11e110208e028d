"""Labels show how the runs of one set differ, and nothing else."""

from typing import Any

import pandas as pd
import pytest

from eval.runs.labels import configured_label, distinguished, settings
from eval.runs.run import Run
from instructedit.checkpoints import CHECKPOINT

LOCAL = {"_target_": "instructedit.language.build.local", "model": {"_target_": CHECKPOINT, "id": "here/small"}}
RULES = {"_target_": "instructedit.language.build.rules"}
GROUNDED = {"_target_": "instructedit.segmenter.GroundedSam", "box_threshold": 0.3}


def composed(masker: str) -> dict[str, Any]:
    return {"_target_": "instructedit.segmenter.Segmenter", "masker": {"_target_": f"instructedit.segmenter.{masker}"}}


def make(run_id: str, label: str = "instructedit ratio=0.7", top: dict[str, Any] | None = None, **method: Any) -> Run:
    own = {"_target_": "instructedit.method.InstructEdit", "language": LOCAL, "captioner": None, "steps": 50} | method
    wrapper = {"_target_": "instructedit.wrappers.full_size.FullSize", "method": own}
    config = {"label": label, "seed": 0, "variation": 0, "wrapper": wrapper} | (top or {})
    return Run(f"v2-{run_id}", "instructedit", configured_label(config), {}, pd.DataFrame(), config=config)


def labels(*runs: Run) -> list[str]:
    return [run.label.removeprefix("instructedit ratio=0.7").strip() for run in distinguished(runs)]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([make("1")], [""]),
        ([make("1"), make("2", language=RULES)], ["language=local", "language=rules"]),
        ([make("1"), make("2", steps=20)], ["steps=50", "steps=20"]),
        ([make("1"), make("2", steps=20, language=RULES)], ["language=local steps=50", "language=rules steps=20"]),
        ([make("1"), make("2", "instructedit ratio=0.7 more", steps=20)], ["", "more"]),
        ([make("1"), make("1")], ["", ""]),
        ([make("1", top={"seed": 1}), make("2")], ["seed=1", "seed=0"]),
        ([make("1", top={"benchmark": {"name": n}}) if n == "a" else make("2", top={"benchmark": {"name": n}})
          for n in "ab"], ["benchmark=a", "benchmark=b"]),
        ([make("1"), make("2", captioner={"_target_": "mine.Blip2Captioner", "question": "what?"})],
         ["captioner=none", "captioner=blip2_captioner"]),
        ([make("1", language=LOCAL | {"model": {"_target_": CHECKPOINT, "id": "/home/me/large"}}), make("2")],
         ["model=large", "model=small"]),
        ([make("1", ratios=[0.3, 0.5]), make("2", ratios=[0.3, 0.7])], ["ratios=0.3,0.5", "ratios=0.3,0.7"]),
        ([make("1", prompt={"steps": 1}), make("2", prompt={"steps": 2}, steps=20)],
         ["method.steps=50 prompt.steps=1", "method.steps=20 prompt.steps=2"]),
        ([make("1", segmenter=GROUNDED), make("2", segmenter=composed("Sam")), make("3", segmenter=composed("Sam2"))],
         ["segmenter=grounded_sam", "segmenter=segmenter masker=sam", "segmenter=segmenter masker=sam2"]),
        ([make("1", segmenter=GROUNDED, top={"choices": {"segmenter": "grounded_sam"}}),
          make("2", segmenter=composed("Sam2"), top={"choices": {"segmenter": "grounded_sam2"}})],
         ["segmenter=grounded_sam", "segmenter=grounded_sam2"]),
        ([make("1111112"), make("2222223"), make("3", steps=20)],
         ["steps=50 #111111", "steps=50 #222222", "steps=20"]),
        ([make("1"), make("2", paste_back=True)], ["", "paste_back=true"]),
    ],
)  # fmt: skip
def test_labels_show_what_differs(runs: list[Run], expected: list[str]) -> None:
    assert labels(*runs) == expected


def test_the_paraphrase_is_part_of_a_label_of_its_own() -> None:
    assert labels(make("1", top={"variation": 2})) == ["variation=2"]
    assert configured_label({}, "v2-1") == "v2-1"


def test_settings_name_no_folder_of_the_machine() -> None:
    run = make("1", language=LOCAL | {"model": {"_target_": CHECKPOINT, "id": "/home/me/large", "base": "/home/me/b"}})
    assert settings(run)["wrapper.method.language.model"] == "large"
    assert not [value for value in settings(run).values() if "/home" in value]
