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


def test_validation_page_is_up_to_date(root):
    page = (root / "docs" / "validation.md").read_text()
    assert docs.validation_page(root / "docs" / "validation") == page, "run: make docs"


def test_every_table_is_on_the_validation_page(tmp_path):
    head = "id\tdescription\tvalue\tci_low\tci_high\ttarget\tmet\tcommit\n"
    rail = "a\tFirst\t0.12345\t0.1\t0.2\t<= 1\tyes\tc\nb\tSecond\t2\t\t\treported\t\tc\n"
    (tmp_path / "rail.tsv").write_text(head + rail)
    (tmp_path / "dwi.tsv").write_text(head + "c\tThird\t3\t\t\t<= 1\tno\tc\n")
    page = docs.validation_page(tmp_path)
    assert "| First | 0.1235 | 0.1 to 0.2 | <= 1 | yes |" in page
    assert "1 of 1 targets met" in page
    assert "0 of 1 targets met" in page
    assert "Second" in page
    short = docs.validation_table(tmp_path)
    assert "First" in short
    assert "Third" not in short
    assert "Diffusion preprocessing: 0 of 1 targets met" in short


@pytest.mark.parametrize("folder", ["workflow", "scripts", "config", "docs", "envs", "resources", "tests"])
def test_no_page_names_a_machine_path(root, folder):
    for path in (root / folder).rglob("*"):
        own = "__pycache__" not in path.parts and path.name not in ("test_docs.py", "niivue.umd.js")
        if path.suffix in TEXT and own:
            assert not MACHINE_PATH.search(path.read_text()), path
