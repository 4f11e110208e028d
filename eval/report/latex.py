"""Tables for a paper: booktabs, every text escaped."""

from collections.abc import Sequence

import pandas as pd

SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
        "−": "$-$", "–": "--", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "θ": r"$\theta$", "ε": r"$\epsilon$",
        "±": r"$\pm$", "\n": " ", "\r": " ",
    }
)  # fmt: skip
"""Letters that TeX takes for commands, and those that its older engines do not know."""


def escape(text: str) -> str:
    """Text as TeX prints it literally; control characters, which it refuses, are dropped."""
    return "".join(c for c in text.translate(SPECIAL) if c.isprintable())


SHRINK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""A table that is wider than the text is made to fit; a narrow one stays as it is."""


def latex_table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str, label: str, note: str = "") -> bytes:
    r"""A ``table`` environment, its first column to the left and the others to the right.

    Args:
        heads: Plain text, one a column.
        rows: Plain text, as many a row.
        caption: Plain text.
        label: For ``\ref``.
        note: Plain text, after the caption.

    Returns:
        UTF-8; needs ``\usepackage{booktabs,graphicx}``.
    """
    # Columns by number: two heads may be alike. A row that began with a bracket would be an argument of the \\ before.
    cells = [[f"{{{escape(c)}}}" if c.startswith("[") else escape(c) for c in row] for row in rows]
    frame = pd.DataFrame(cells, columns=range(len(heads)))
    body = (
        frame.style.hide(axis="index")
        .format_index(lambda column: escape(heads[column]), axis=1)
        .to_latex(hrules=True, column_format="l" + "r" * (len(heads) - 1))
    )
    lines = [
        "% \\usepackage{booktabs,graphicx}", "\\begin{table}", "\\centering", SHRINK,
        body.rstrip() + "}", f"\\caption{{{escape(f'{caption} {note}'.strip())}}}", f"\\label{{{label}}}",
        "\\end{table}", "",
    ]  # fmt: skip
    return "\n".join(lines).encode()
