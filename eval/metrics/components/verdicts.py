"""Names of the verdicts on components, and the verdict on a language processor, which needs no model."""

import re

from eval.metrics.base import MetricUndefined
from instructedit.types import Decisions, Sample

LANGUAGE, SEGMENTER, EDITOR = "language_right", "segmenter_right", "editor_right"
"""The metrics' names, whoever judges."""
_FUNCTION_WORDS = frozenset("a an the of with and on at in to by for it its".split())


def content_words(text: str) -> set[str]:
    """Return the words of a text in lower case, without function words."""
    return set(re.findall(r"[a-z]+", text.lower())) - _FUNCTION_WORDS


def language_is_right(sample: Sample, decisions: Decisions) -> bool:
    """Return whether the prompts request the edit of the instruction.

    The segmentation prompt must have the words of the referring expression. The edited caption must name everything
    that the instruction adds (the instruction's words that are in the benchmark's edited caption but not in its input
    caption). For a removal, the edited caption must differ from the input caption, and must not name the removed object
    unless another one of its kind remains.

    Raises:
        MetricUndefined: The method has no language processor, or the sample lacks ground truth.
    """
    prompt, captions = decisions.segmentation_prompt, decisions.captions
    if prompt is None or captions is None or sample.truth.referred is None or sample.captions is None:
        raise MetricUndefined("the method has no language processor, or the sample no ground truth")
    referred, edited = content_words(sample.truth.referred), content_words(captions.edited)
    before, after = content_words(sample.captions.input), content_words(sample.captions.edited)
    added = (after - before) & content_words(sample.instruction) - referred
    is_removal = sample.truth.target is None
    stays = is_removal and (content_words(captions.input) == edited or bool((before - after) & referred & edited))
    return content_words(prompt) == referred and added <= edited and not stays
