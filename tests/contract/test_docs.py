"""Pages: links lead somewhere, generated parts are up to date, nothing speaks of one machine."""

import re

import pytest

from scan2map import docs

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
MACHINE_PATH = re.compile(r"(?<![\w.<>}/])/(?:work|root|home|mnt|Users)/\w+")
TEXT = {".py", ".smk", ".md", ".yaml", ".yml", ".sh", ".toml", ".j2", ".tsv", ".js", ".css"}


def pages(root):
    return [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]


def test_relative_links_lead_to_files(root):
    for page in pages(root):
        for target in LINK.findall(page.read_text()):
            if not target.startswith(("http:", "https:", "mailto:")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_validation_table_of_the_readme_is_up_to_date(root):
    text = (root / "README.md").read_text()
    assert docs.readme(text, root / "docs" / "validation") == text, "run: make docs"


@pytest.mark.parametrize("folder", ["workflow", "scripts", "config", "docs", "envs", "resources", "tests"])
def test_no_page_names_a_machine_path(root, folder):
    for path in (root / folder).rglob("*"):
        if path.suffix in TEXT and "__pycache__" not in path.parts and path.name != "test_docs.py":
            assert not MACHINE_PATH.search(path.read_text()), path
