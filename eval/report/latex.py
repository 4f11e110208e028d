"""LaTeX tables with booktabs; all text is escaped."""

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
"""LaTeX for TeX's special characters and for characters that pdfTeX does not know."""


def escape(text: str) -> str:
    """Escape text for LaTeX and drop control characters, which are invalid there."""
    return "".join(c for c in text.translate(SPECIAL) if c.isprintable())


SHRINK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""LaTeX that scales a table down to the text width if it is wider."""


def latex_table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str, label: str, note: str = "") -> bytes:
    r"""Return a ``table`` environment with the first column left-aligned and the others right-aligned.

    Args:
        heads: Column heads, plain text.
        rows: Rows with one plain text per column.
        caption: Plain text.
        label: Label for ``\ref``.
        note: Plain text that is appended to the caption.

    Returns:
        LaTeX in UTF-8 that needs ``\usepackage{booktabs,graphicx}``.
    """
    # Columns are numbered, because heads may be equal. Braces protect a leading bracket, which would otherwise be read
    # as the optional argument of the preceding \\.
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
