"""Pages: templates, their style and script, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from markupsafe import Markup

STYLE, SCRIPTS = "page.css", ("page.js", "tables.js", "viewer.js")
REPORT_FOLDER = Path(__file__).resolve().parents[3] / "report"


def render_page(template: str, folder=REPORT_FOLDER, **values) -> str:
    """Render a template; every value is escaped, and a missing one is an error.

    Args:
        template: file name in ``templates/``.
        folder: the report folder with ``templates/`` and ``assets/``.
        values: what the template shows.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(folder) / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, *scripts = (Markup((Path(folder) / "assets" / name).read_text()) for name in (STYLE, *SCRIPTS))
    return environment.get_template(template).render(style=style, script=Markup("\n").join(scripts), **values)


def write_page(path, text: str) -> None:
    """Write a page under a temporary name, then rename it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
