"""Whole pages: complete, self-contained, honest about what is missing, the same bytes every time."""

import json
import re
from html.parser import HTMLParser

import pytest
from report_study import BOOTSTRAP, REPORT_SETTINGS, SERIES, inventory_row, make_session

from scan2map.evaluation.long_table import Row, long_table, write_long_table
from scan2map.evaluation.roi_table import gather_rois
from scan2map.reporting.downloads import DOWNLOADS
from scan2map.reporting.group_page import write_group_page
from scan2map.reporting.ranges import write_ranges
from scan2map.reporting.subject_page import write_subject_page
from scan2map.reporting.tracing import read_traced

VOID = {"meta", "img", "br", "input", "link"}


class Outline(HTMLParser):
    """Checks nesting; collects ids, links, pictures."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.images, self.sources = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if "href" in attributes else []
        self.sources += [attributes["src"]] if "src" in attributes else []
        self.images += [attributes] if tag == "img" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outline(text):
    parser = Outline()
    parser.feed(text)
    assert not parser.open
    return parser


def write_page(tree, out, *, inventory=None, study=None, notes=()):
    write_subject_page(
        tree.files,
        out,
        subject=tree.subject,
        session=tree.session,
        inventory=inventory or tree.inventory,
        series=SERIES,
        study=study or {"title": "A <study>", "kind": "phantom"},
        settings=REPORT_SETTINGS,
        notes=notes,
    )
    return out.read_text()


@pytest.fixture(scope="module")
def page(session_tree, tmp_path_factory):
    return write_page(session_tree, tmp_path_factory.mktemp("report") / "sub-01_ses-1.html")


def test_page_is_well_formed_with_unique_ids_and_working_anchors(page):
    found = outline(page)
    assert len(set(found.ids)) == len(found.ids)
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)


def test_page_needs_nothing_outside_itself(page):
    found = outline(page)
    assert all(source.startswith("data:image/") or source == "regions.js" for source in found.sources)
    assert all(link.startswith(("#", "https://doi.org/", "index.html", "../evaluation/")) for link in found.links)
    assert not re.search(r"url\(|@import|<link|fetch\(|XMLHttpRequest", page)


def cell_of(source, page):
    """The cell and its row that a source ``table#cell=row,column`` names."""
    path, _, place = source.partition("#cell=")
    row, column = (int(part) - 1 for part in place.split(","))
    lines = [line.split("\t") for line in (page.parent / path).read_text().splitlines()]
    return float(lines[row][column]), dict(zip(lines[0], lines[row], strict=True))


def shown_number(text, row):
    """The number of a page in the unit of the table's row."""
    value = float(text.replace("\N{MINUS SIGN}", "-"))
    relative = row.get("statistic") in ("median_relative_error", "relative_difference")
    return value / (100 if relative else {"mm2/s": 1000, "mm^2/s": 1000}.get(row.get("unit"), 1))


def traced_cells(text):
    """Sources and texts of every number that says where it comes from."""
    found = re.findall(r'<t[dh][^>]* data-source="([^"]+)"[^>]*>([^<]*)<', text)
    return [(sources.split(), re.findall(r"[\N{MINUS SIGN}]?\d[\d.]*", words)) for sources, words in found]


def check_cells(text, page):
    """Every traced number of a page is the cell that it names; returns how many."""
    count = 0
    for sources, numbers in traced_cells(text):
        assert not numbers or len(numbers) >= len(sources), (sources, numbers)
        for source, number in zip(sources, numbers, strict=False):
            value, row = cell_of(source, page)
            assert shown_number(number, row) == pytest.approx(value, rel=0.06, abs=1e-6), (source, number)
            count += 1
    return count


def test_every_number_is_the_cell_that_it_names(session_tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("traced") / "page.html"
    text = write_page(session_tree, out)
    assert check_cells(text, out) > 100
    numbers = re.findall(r'<td class="number"([^>]*)>[^<]*\d', text.partition('id="series"')[0])
    assert all("data-source" in attributes for attributes in numbers)


def test_ranges_over_the_study_are_the_cells_that_they_name_and_every_page_has_a_place_for_them(
    session_tree, tmp_path_factory
):
    out = tmp_path_factory.mktemp("ranges") / "page.html"
    other = make_session(out.parent / "s", "02")
    gather_rois([session_tree.files["rois"], other.files["rois"]], out.with_name("rois.tsv"))
    write_ranges(out.with_name("regions.js"), read_traced(out.with_name("rois.tsv"), out))
    script = out.with_name("regions.js").read_text()
    study = json.loads(script[script.index("{") : script.rindex("}") + 1])
    assert study["sessions"] == 2
    places = re.findall(r'data-region="([^"]+)"', write_page(session_tree, out))
    assert len(set(places)) == len(places) > 10
    assert set(study["ranges"]) <= set(places)
    for key, found in study["ranges"].items():
        ends = [cell_of(source, out) for source in found["sources"]]
        shown = [shown_number(text, row) for text, (_, row) in zip(found["text"].split(" to "), ends, strict=True)]
        assert shown == pytest.approx([value for value, _ in ends], rel=0.06, abs=1e-6)
        assert {f"{row['roi']}|{row['metric']}" for _, row in ends} == {key}
        assert {row["statistic"] for _, row in ends} == {"median"}


def test_every_picture_has_words(page):
    images = outline(page).images
    assert len(images) >= 12
    assert all(len(image["alt"]) > 10 for image in images)


def test_page_shows_maps_numbers_truth_series_and_steps(page):
    for text in (
        "Fractional anisotropy", "Off-resonance field", "Cerebral blood flow", "simulated data", "Against the truth",
        "t1w_mprage", "not an image", "fit_tensor", "60.0", "✓ usual",
    ):  # fmt: skip
        assert text in page, text


def test_words_of_the_study_are_escaped(page):
    assert "A &lt;study&gt;" in page
    assert "<study>" not in page


def test_page_of_a_real_session_does_not_say_simulated(session_tree, tmp_path):
    tree = make_session(tmp_path / "real", modalities=("anat",))
    tree.files.pop("truth")
    text = write_page(tree, tmp_path / "page.html", study={"title": "Study", "kind": "dicom"})
    assert "simulated" not in text.lower()


def test_the_same_input_gives_the_same_bytes(session_tree, page, tmp_path):
    assert write_page(session_tree, tmp_path / "again.html") == page


def test_missing_modalities_are_told_with_reason_and_remedy(tmp_path):
    tree = make_session(tmp_path / "part", modalities=("anat", "dwi"))
    text = write_page(tree, tmp_path / "page.html")
    assert "Perfusion is incomplete: the series is absent. What to do: scan it." in text
    assert "Cerebral blood flow" not in text
    assert "Fractional anisotropy" in text
    outline(text)


def test_a_session_with_nothing_still_gets_its_page(tmp_path):
    tree = make_session(tmp_path / "none", modalities=())
    text = write_page(tree, tmp_path / "page.html")
    assert text.count("is incomplete") >= 3
    assert "There are no regional values" in text
    outline(text)


def test_a_failed_step_is_told_with_its_reason(tmp_path):
    tree = make_session(tmp_path / "failed", modalities=("anat",))
    note = tmp_path / "sub-01_ses-1.failed.json"
    content = {"subject": "01", "session": "1", "modality": "dwi", "rule": "fit_tensor", "reason": "MD is constant"}
    note.write_text(json.dumps(content))
    inventory = [inventory_row("anat"), inventory_row("dwi")]
    text = write_page(tree, tmp_path / "page.html", inventory=inventory, notes=[note])
    assert "Diffusion failed: MD is constant (step fit_tensor)" in text
    assert 'class="chip failed"' in text


def test_modalities_outside_the_study_are_not_mentioned(tmp_path):
    tree = make_session(tmp_path / "anat", modalities=("anat",))
    text = write_page(tree, tmp_path / "page.html", inventory=[inventory_row("anat")])
    assert "Perfusion" not in text
    assert "Brain mask and tissues" in text


def test_diffusion_without_anatomy_says_what_it_needs(tmp_path):
    tree = make_session(tmp_path / "dwi", modalities=("dwi",))
    text = write_page(tree, tmp_path / "page.html")
    registration = text[text.index('id="dwi-to-t1w"') :]
    assert "Anatomy is incomplete" in registration[:800]
    assert "Mean diffusivity" in text


def test_a_broken_picture_costs_only_itself(tmp_path):
    tree = make_session(tmp_path / "broken", modalities=("anat", "asl"))
    with open(tree.files["cbf"], "wb") as handle:
        handle.write(b"not an image")
    text = write_page(tree, tmp_path / "page.html")
    assert "This figure could not be drawn: The image cannot be read" in text
    assert "Calibration image M0" in text


def write_group(folder, trees, rows, models=None):
    """Write the group page of some sessions with the rows of their inventory; returns its text."""
    gather_rois([tree.files["rois"] for tree in trees], folder / "rois.tsv")
    columns = list(rows[0])
    lines = [columns, *([row[name] for name in columns] for row in rows)]
    (folder / "inventory.tsv").write_text("\n".join("\t".join(line) for line in lines))
    files = {"inventory": folder / "inventory.tsv", "rois": folder / "rois.tsv", "scanner": [], "targets": []}
    files |= {kind: [tree.files[kind] for tree in trees] for kind in ("quality", "truth")}
    write_group_page(files, folder / "index.html", table=folder / "group.tsv",
                     ranges=folder / "regions.js", study={"title": "S", "kind": "phantom"},
                     settings=REPORT_SETTINGS, bootstrap=BOOTSTRAP, models=models)  # fmt: skip
    return (folder / "index.html").read_text()


def test_group_page_lists_everybody_and_links_by_relative_paths(tmp_path):
    trees = [make_session(tmp_path / "s", "01"), make_session(tmp_path / "s", "02", modalities=("anat",))]
    rows = [row for tree in trees for row in tree.inventory]
    rows.append(inventory_row("dwi", "failed", "MD <b>is</b> constant", subject="03"))
    text = write_group(tmp_path, trees, rows)
    links = [link for link in outline(text).links if not link.startswith("#")]
    pages = ["sub-01_ses-1.html", "sub-02_ses-1.html", "sub-03_ses-1.html"]
    assert links[:3] == pages
    assert set(DOWNLOADS) <= set(links)
    assert set(links) <= {*pages, *DOWNLOADS, "group.json"}
    assert 'data-subject="03"' not in text
    assert "the series is absent" in text
    assert "MD &lt;b&gt;is&lt;/b&gt; constant" in text
    assert text.count('class="chart"') == 5
    for columns in ("Why it does not run", "Lower end of the bootstrap interval over subjects"):
        assert columns in text


def model_table(folder, subject, shift):
    """Comparisons of one session's network and least-squares maps with the truth."""
    rows = []
    for roi, true in (("GM", 60.0), ("WM", 25.0)):
        for metric, error in (("cbf", 2.0 + shift), ("cbf_ls", 6.0 + shift)):
            figures = {"root_mean_square_error": error, "bias": shift, "mean": true + shift, "mean_truth": true}
            rows += [Row(roi, metric, name, value, "mL/100g/min", 100) for name, value in figures.items()]
        rows += [Row(roi, "cbf", f"coverage_{level}", level / 100, "1", 100) for level in (50, 90)]
    path = folder / f"sub-{subject}_ses-1_model-asl_quantnet.tsv"
    write_long_table(long_table(rows, subject=subject, session="1"), path, step="x", description="x")
    return path


def test_group_page_compares_models_and_names_the_cell_of_every_number(tmp_path):
    trees = [make_session(tmp_path / "s", subject) for subject in ("01", "02", "03")]
    rows = [row for tree in trees for row in tree.inventory]
    paths = [model_table(tmp_path, tree.subject, shift) for tree, shift in zip(trees, (0.0, 1.0, 2.0), strict=True)]
    text = write_group(tmp_path, trees, rows, {"asl_quantnet": paths, "asl_denoise": []})
    assert check_cells(text, tmp_path / "index.html") > 50
    table = (tmp_path / "group.tsv").read_text()
    difference = next(line.split("\t") for line in table.splitlines() if "cbf - cbf_ls\troot_mean" in line)
    assert [float(cell) for cell in difference[5:6] + difference[7:9]] == [-4, -4, -4]
    limits = [line.split("\t")[5] for line in table.splitlines() if "cbf | truth" in line and "\tGM\t" in line]
    assert [float(value) for value in limits] == pytest.approx([1, 1 - 1.96, 1 + 1.96])
    for words in ("limits of agreement", "truth inside the model", "Missing: errors need a known truth"):
        assert words in text
    links = re.findall(r'<a href="(sub-0\d_ses-1.html)"><circle', text)
    assert {"sub-01_ses-1.html", "sub-03_ses-1.html"} <= set(links)
    assert write_group(tmp_path, trees, rows, {"asl_quantnet": paths, "asl_denoise": []}) == text
