"""Segmenter (paper §3.3): a detector finds boxes for a prompt, and a mask predictor turns each box into a mask."""

from instructedit.segmenter.base import Detector, Masker, Segmentation, Segmenter
from instructedit.segmenter.grounded_sam import GroundedSam, GroundingDino, MMGroundingDino, Sam, Sam2

__all__ = [
    "Detector",
    "GroundedSam",
    "GroundingDino",
    "MMGroundingDino",
    "Masker",
    "Sam",
    "Sam2",
    "Segmentation",
    "Segmenter",
]
