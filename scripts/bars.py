"""Progress bars of scripts that fit a field and edit many pictures."""

from tqdm import tqdm

UNITS = {"edit": "frame", "carry": "frame", "render": "view"}
"""What is counted; steps, if nothing else."""


class Bars:
    """A progress bar for each part of the work."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None
        self.what = ""

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def tick(self, what: str, done: int, total: int, loss: float) -> None:
        """Show the progress of a part."""
        if self.bar is None or what != self.what:
            if self.bar is not None:
                self.bar.close()
            unit = UNITS.get(what, "step")
            self.bar, self.what = tqdm(total=total, initial=max(0, done - 1), desc=what, unit=unit), what
        self.bar.update(done - self.bar.n)
        if loss:
            self.bar.set_postfix(loss=f"{loss:.5f}", refresh=False)
        if done == total:
            self.bar.close()
            self.bar = None
