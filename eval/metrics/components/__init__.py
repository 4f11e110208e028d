"""Which component was right (paper §5), by ground truth or by a vision-language model."""
