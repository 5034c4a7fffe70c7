"""Tables for LaTeX, in the style of the package booktabs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

SPECIAL = {
    "<=": r"$\leq$", ">=": r"$\geq$",
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "≤": r"$\leq$", "≥": r"$\geq$",
    "×": r"$\times$", "±": r"$\pm$", "−": r"$-$", "–": "--", "·": r"$\cdot$", "°": r"$^\circ$", "²": r"$^2$",
    "³": r"$^3$", "⁻": r"$^-$", "¹": r"$^1$", "⁴": r"$^4$", "⁵": r"$^5$", "√": r"$\surd$", "≈": r"$\approx$",
    "µ": r"$\mu$", "μ": r"$\mu$", "λ": r"$\lambda$", "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$",
    "δ": r"$\delta$", "Δ": r"$\Delta$", "σ": r"$\sigma$", "ρ": r"$\rho$", "τ": r"$\tau$", "θ": r"$\theta$",
    "∈": r"$\in$", "→": r"$\rightarrow$", "½": r"$1/2$", "“": "``", "”": "''", "’": "'",
}  # fmt: skip
UNSAFE = re.compile("|".join(re.escape(sign) for sign in SPECIAL))


def escape(text: str) -> str:
    """Text with LaTeX's own signs, and those beyond its fonts, as commands."""
    return UNSAFE.sub(lambda match: SPECIAL[match[0]], text)


def cell(value) -> str:
    """A cell: four significant digits, a dash for what is missing."""
    if isinstance(value, str) or value is None:
        return escape(value) if value else "--"
    if isinstance(value, float):
        return "--" if math.isnan(value) else escape(f"{value:.4g}")
    return escape(str(value))


def _is_text(value) -> bool:
    """Whether a cell holds words; an empty one and a number do not."""
    try:
        float(value or "nan")
    except (TypeError, ValueError):
        return True
    return False


def table(columns: Sequence[str], rows: Sequence[Sequence], *, caption: str, label: str) -> str:
    """A table that may run over pages: needs ``booktabs`` and ``longtable``.

    Args:
        columns: heads.
        rows: cells; numbers stand on the right.
        caption: text above it.
        label: to refer to it, without ``tab:``.
    """
    texts = [any(_is_text(row[place]) for row in rows) for place in range(len(columns))]
    widths = [max((len(str(row[place])) for row in rows), default=0) for place in range(len(columns))]
    kinds = [r"p{0.45\linewidth}" if text and width > 40 else "l" if text else "r"
             for text, width in zip(texts, widths, strict=True)]  # fmt: skip
    head = " & ".join(map(escape, columns)) + r" \\"
    lines = [
        "% needs \\usepackage{booktabs,longtable}",
        rf"\begin{{longtable}}{{@{{}}{''.join(kinds)}@{{}}}}",
        rf"\caption{{{escape(caption)}}}\label{{tab:{label}}}\\",
        r"\toprule", head, r"\midrule", r"\endfirsthead", r"\toprule", head, r"\midrule", r"\endhead",
        r"\bottomrule", r"\endlastfoot",
        *(" & ".join(map(cell, row)) + r" \\" for row in rows),
        r"\end{longtable}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
