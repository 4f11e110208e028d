"""Numbers of the paper, to show with ours; its images are unreleased and its hyperparameters were tuned by hand."""

from instructedit.types import Stage

TABLE_1 = {
    "mdp": {"brisque": 22.658, "lpips": 0.260, "clip_score": 25.613, "clip_directional": 0.095},
    "instruct_pix2pix": {"brisque": 25.054, "lpips": 0.269, "clip_score": 25.681, "clip_directional": 0.125},
    "diffedit": {"brisque": 23.607, "lpips": 0.152, "clip_score": 25.707, "clip_directional": 0.103},
    "instructedit": {"brisque": 23.104, "lpips": 0.132, "clip_score": 26.584, "clip_directional": 0.153},
}
"""Means over 30 edits, by method and metric."""

COMPONENTS: dict[str, float] = {Stage.LANGUAGE: 97.3, Stage.SEGMENTER: 71.0, Stage.EDITOR: 69.4}
"""Accuracy of each component in percent, over edits of 85 images (§5)."""
EDITOR_RIGHT_WHEN_SEGMENTER_WRONG = 35.0
"""Accuracy of the editor in percent, given that the segmenter is wrong (§5)."""
RATIO_SENSITIVE = 74.6
"""Percent of the right edits that fail under another encoding ratio (§5)."""
DESCRIPTION_HELPS_ADDITIONS = 62.5
"""Percent of the cases with added objects in which BLIP-2 helps (§5)."""
PREFERENCES = {"mdp": 72.7, "instruct_pix2pix": 68.3, "diffedit": 66.2}
"""Percent of the answers that preferred InstructEdit to each baseline, by 26 people on 30 edits (§4.2)."""
