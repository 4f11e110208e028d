"""Component accuracy (paper §5), judged by ground truth or by a vision-language model."""
