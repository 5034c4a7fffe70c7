"""The list of figures: what a study makes, what it does not and why, and files of the same bytes in every run."""

import subprocess
import sys

import pytest
import yaml

from scan2map.errors import SettingError
from scan2map.reporting import latex
from scan2map.reporting.figure_list import absent, figure_files, load_figures, published_tables
from scan2map.reporting.figures_page import write_figure_index
from scan2map.reporting.page import REPORT_FOLDER
from scan2map.reporting.plots import pyplot, save_figure
from scan2map.systems import system_names

LISTED = REPORT_FOLDER / "figures.yaml"
DRAW = """
import sys
from scan2map.reporting.plots import pyplot, save_figure
figure, axes = pyplot().subplots()
axes.plot([0, 1, 3], label="a")
axes.imshow([[0, 1], [1, 0]])
axes.legend()
save_figure(figure, sys.argv[1])
"""


def test_every_system_has_a_document_and_every_figure_says_what_it_answers():
    figures = load_figures(LISTED)
    assert set(figures.documents) == set(system_names())
    assert all(entry.answers and entry.caption for entry in figures.entries)


def test_a_study_makes_the_figures_of_its_systems_and_says_why_not_the_others():
    figures = load_figures(LISTED)
    files = figure_files(figures, ["dwi_vae"])
    assert "<results>/figures/dwi_vae/noise.svg" in files
    assert all("/dwi_vae/" in path for path in files)
    reasons = {item.system: item.reason for item in absent(figures, ["dwi_vae"])}
    assert "learning.systems" in reasons["asl_denoise"]
    assert "dwi_vae" not in reasons
    assert "draws no figure" in absent(figures, ["own"])[-1].reason


@pytest.mark.parametrize(
    "change",
    [{"id": "a"}, {"files": "x/b"}, {"system": "unknown"}, {"colour": "red"}],
    ids=lambda change: next(iter(change)),
)
def test_a_list_that_is_wrong_is_refused(tmp_path, change):
    entry = {"id": "a", "system": "s", "files": "x/a", "title": "t", "answers": "w", "caption": "c"}
    other = {**entry, "id": "b", "files": "x/b"}
    (tmp_path / "good.yaml").write_text(yaml.safe_dump({"documents": {"s": "d"}, "figures": [entry, other]}))
    assert len(load_figures(tmp_path / "good.yaml").entries) == 2
    wrong = [{**entry, "files": "x/b"} if "files" in change else entry, {**other, **change}]
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump({"documents": {"s": "d"}, "figures": wrong}))
    with pytest.raises(SettingError, match="list of figures"):
        load_figures(tmp_path / "wrong.yaml")


def test_another_process_draws_the_same_bytes(tmp_path):
    for name, seed in (("one", "1"), ("two", "2")):
        command = [sys.executable, "-c", DRAW, str(tmp_path / f"{name}.svg")]
        subprocess.run(command, check=True, env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed})
    for suffix in ("svg", "png"):
        one, two = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("one", "two"))
        assert one == two
        assert len(one) > 1000


def test_page_shows_pictures_tables_and_reasons(tmp_path):
    (tmp_path / "asl_denoise").mkdir()
    for name in ("table1", "figure2", "figure3", "figure4"):
        figure, axes = pyplot().subplots(figsize=(1, 1))
        axes.plot([0, 1])
        save_figure(figure, tmp_path / "asl_denoise" / f"{name}.svg")
        (tmp_path / "asl_denoise" / f"{name}.tsv").write_text("method\tmean\nDeepASL <b>\t28.123456\n")
    head = "id\tdescription\tvalue\tci_low\tci_high\ttarget\tmet\tcommit\n"
    (tmp_path / "rail.tsv").write_text(head + "a\tFA_x\t0.123456\t\t\t<= 1\tyes\tabc\n")
    for name in ("index.html", "again.html"):
        write_figure_index(LISTED, ["asl_denoise"], tmp_path, [tmp_path / "rail.tsv"], index=tmp_path / name,
                           tables=tmp_path / "tables", study={"title": "S", "kind": "phantom"})  # fmt: skip
    page = (tmp_path / "index.html").read_text()
    assert page == (tmp_path / "again.html").read_text()
    assert "Table 1 of the paper" in page
    assert "DeepASL &lt;b&gt;" in page
    assert page.count("data:image/png") == 4
    assert "add it to learning.systems" in page
    assert all((tmp_path / link).is_file() for link in ("asl_denoise/figure2.svg", "tables/asl_denoise-table1.tex"))
    tex = (tmp_path / "tables" / "validation-rail.tex").read_text()
    assert r"FA\_x & 0.1235 & -- & -- & $\leq$ 1 & yes \\" in tex


def test_latex_escapes_and_aligns():
    text = latex.table(["a_b", "n"], [("5 % & more", 0.123456), ("µ ≥ 2", float("nan"))], caption="C", label="x")
    assert r"\begin{longtable}{@{}lr@{}}" in text
    assert r"a\_b & n \\" in text
    assert r"5 \% \& more & 0.1235 \\" in text
    assert r"$\mu$ $\geq$ 2 & -- \\" in text
    assert text.count("{") == text.count("}")


def test_latex_knows_every_sign_of_the_published_tables(root):
    texts = "".join(path.read_text() for path in (root / "docs" / "validation").glob("*.tsv")) + LISTED.read_text()
    beyond = {sign for sign in texts if ord(sign) > 255 and sign not in latex.SPECIAL}
    assert not beyond


def test_published_tables_change_their_digest_with_their_content(tmp_path):
    (tmp_path / "rail.tsv").write_text("a\n")
    before = published_tables(tmp_path)
    (tmp_path / "rail.tsv").write_text("b\n")
    after = published_tables(tmp_path)
    assert list(before) == list(after) == [str(tmp_path / "rail.tsv")]
    assert before != after
