"""The pages in a real browser, opened from a file path: the scripts run, the viewer shows what the files hold."""

import json
import re
import shutil
import subprocess

import pytest
from report_study import REPORT_SETTINGS, SERIES, make_session
from synthetic_tree import VALUES

from scan2map.evaluation.roi_table import gather_rois
from scan2map.reporting.group_page import write_group_page
from scan2map.reporting.subject_page import write_subject_page
from scan2map.tables import read_table

pytestmark = pytest.mark.browser
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--hide-scrollbars", "--virtual-time-budget=10000",
)  # fmt: skip
PROBE = """
<pre id="verdict"></pre>
<script>
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const lit = (canvas) => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return pixels.filter((value, place) => place % 4 !== 3 && value > 40).length;
};
window.addEventListener("load", async () => {
  await wait(1500);
  const found = {};
  const compare = document.querySelector("#opposed-b0 .compare");
  found.live = compare.classList.contains("live");
  const shown = () => [...compare.querySelectorAll(".shot")].map((shot) => getComputedStyle(shot).visibility);
  found.before = shown();
  compare.querySelectorAll(".segments button")[2].click();
  found.chosen = shown();
  const played = new Set();
  compare.querySelector(".flicker").click();
  for (let step = 0; step < 8; step += 1) { played.add(shown().indexOf("visible")); await wait(350); }
  found.played = [...played].sort();
  compare.querySelector(".flicker").click();
  const press = (key) => compare.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  compare.querySelectorAll(".segments button")[0].click();
  press("ArrowRight");
  found.byArrow = shown();
  press("f");
  await wait(700);
  found.byKey = shown();
  press("f");
  compare.querySelectorAll(".segments button")[0].click();
  compare.querySelector(".shots").dispatchEvent(new MouseEvent("mouseenter"));
  found.hovered = shown();
  compare.querySelector(".shots").dispatchEvent(new MouseEvent("mouseleave"));
  found.left = shown();
  const viewer = document.querySelector("#viewer-perfusion");
  found.hidden = viewer.hidden;
  found.lit = [...viewer.querySelectorAll("canvas")].map(lit);
  found.middle = viewer.querySelector(".readout").textContent;
  const slider = viewer.querySelector("input[type=range]");
  slider.value = 0;
  slider.dispatchEvent(new Event("input"));
  found.edge = viewer.querySelector(".readout").textContent;
  viewer.querySelector(".outlines").click();
  viewer.querySelectorAll(".layers button")[2].click();
  await wait(300);
  found.layer = viewer.querySelector(".readout").textContent;
  found.errors = window.problems;
  found.width = document.documentElement.scrollWidth;
  document.getElementById("verdict").textContent = JSON.stringify(found);
});
</script>
"""
GROUP_PROBE = """
<pre id="verdict"></pre>
<script>
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
window.addEventListener("load", async () => {
  const found = { saved: [] };
  URL.createObjectURL = (blob) => { found.pending = blob.text().then((text) => found.saved.push(text)); return "#"; };
  const rating = document.querySelector("#rating");
  rating.querySelector("details").open = true;
  const lines = [...rating.querySelectorAll("tbody tr")];
  found.lines = lines.length;
  rating.querySelector(".who").value = "A. B.";
  lines[0].querySelector("select").value = "good";
  lines[1].querySelector("select").value = "exclude";
  rating.querySelector(".save-exclusions").click();
  found.refused = rating.querySelector(".message").textContent;
  lines[1].querySelector("input").value = "motion\\tand more";
  rating.querySelector(".save-exclusions").click();
  rating.querySelector(".save-ratings").click();
  await wait(300);
  const table = document.querySelector(".sessions");
  const first = () => table.tBodies[0].rows[0].cells[0].textContent.trim().split(/\\s+/)[0];
  const head = table.tHead.rows[0].cells[0];
  head.click();
  found.up = [first(), head.getAttribute("aria-sort")];
  head.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  found.down = [first(), head.getAttribute("aria-sort")];
  found.errors = window.problems;
  document.getElementById("verdict").textContent = JSON.stringify(found);
});
</script>
"""
WATCH = "<script>window.problems = []; window.onerror = (text) => { window.problems.push(text); };</script>"


@pytest.fixture(scope="module")
def chromium():
    found = next((path for path in map(shutil.which, PROGRAMS) if path), None)
    if found is None:
        pytest.skip(f"no browser: install one of {', '.join(PROGRAMS)} to run this test")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    tree = make_session(folder)
    out = folder / "sub-01_ses-1.html"
    write_subject_page(
        tree.files,
        out,
        subject="01",
        session="1",
        inventory=tree.inventory,
        series=SERIES,
        study={"title": "Study", "kind": "phantom"},
        settings=REPORT_SETTINGS,
    )
    return out


def visit(chromium, page, width, probe=PROBE):
    """Open the page with the probe appended; returns what the probe found."""
    text = page.read_text().replace("<head>", "<head>" + WATCH).replace("</body>", probe + "</body>")
    probed = page.with_name(f"probed-{width}-{page.name}")
    probed.write_text(text)
    profile = f"--user-data-dir={page.parent / f'profile-{width}'}"
    command = [chromium, *FLAGS, profile, f"--window-size={width},900", "--dump-dom", probed.as_uri()]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    verdict = re.search(r'<pre id="verdict">(.*?)</pre>', answer.stdout, re.DOTALL)
    assert verdict, answer.stderr[-2000:]
    assert verdict[1], "the page's script did not finish"
    return json.loads(verdict[1].replace("&gt;", ">").replace("&lt;", "<"))


@pytest.fixture(scope="module")
def found(chromium, page):
    return visit(chromium, page, 1280)


def test_no_script_fails(found):
    assert found["errors"] == []


def test_one_picture_of_four_shows_and_buttons_choose(found):
    assert found["live"]
    assert found["before"] == ["visible", "hidden", "hidden", "hidden"]
    assert found["chosen"] == ["hidden", "hidden", "visible", "hidden"]


def test_flicker_stays_within_its_group(found):
    assert found["played"] == [2, 3]


def test_keyboard_and_hover_show_the_other_picture(found):
    first, second = found["hovered"].index("visible"), found["byArrow"].index("visible")
    assert second == 1
    assert found["byKey"] != found["byArrow"]
    assert first != 0
    assert found["left"].index("visible") == 0


@pytest.fixture(scope="module")
def group(chromium, tmp_path_factory):
    folder = tmp_path_factory.mktemp("group")
    trees = [make_session(folder / "s", subject) for subject in ("01", "02")]
    gather_rois([tree.files["rois"] for tree in trees], folder / "rois.tsv")
    rows = [row for tree in trees for row in tree.inventory]
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    (folder / "inventory.tsv").write_text("\n".join("\t".join(line) for line in lines))
    files = {"inventory": folder / "inventory.tsv", "rois": folder / "rois.tsv", "scanner": [], "targets": []}
    files |= {kind: [tree.files[kind] for tree in trees] for kind in ("quality", "truth")}
    write_group_page(files, folder / "index.html", study={"title": "S", "kind": "phantom"}, settings=REPORT_SETTINGS)
    return visit(chromium, folder / "index.html", 1280, GROUP_PROBE)


def test_ratings_are_saved_as_tables_and_exclusions_need_a_reason(group):
    assert group["errors"] == []
    assert group["lines"] >= 4
    assert group["refused"].startswith("Give a reason for sub-01 ses-1")
    exclusions, ratings = ([line.split("\t") for line in text.splitlines()] for text in group["saved"])
    assert exclusions[0] == ["subject", "session", "modality", "reason", "who", "date"]
    assert exclusions[1][:2] == ["01", "1"]
    assert exclusions[1][3:5] == ["motion and more", "A. B."]
    assert [row[3] for row in ratings] == ["rating", "good", "exclude"]


def test_saved_exclusions_are_what_the_intake_reads(group, tmp_path):
    (tmp_path / "exclusions.tsv").write_text(group["saved"][0])
    rows = read_table(tmp_path / "exclusions.tsv", "exclusions")
    assert [(row["subject"], row["reason"], row["who"]) for row in rows] == [("01", "motion and more", "A. B.")]


def test_tables_are_sorted_by_click_and_key(group):
    assert group["up"] == ["sub-01", "ascending"]
    assert group["down"] == ["sub-02", "descending"]


def test_viewer_draws_three_planes(found):
    assert not found["hidden"]
    assert all(count > 500 for count in found["lit"])


def test_viewer_reads_values_back_in_their_unit(found):
    value = float(re.search(r"CBF ([\d.]+) ml/100 g/min", found["middle"])[1])
    assert value == pytest.approx(VALUES["CBF"][2], abs=120 / 254)
    assert "outside the brain" in found["edge"]
    assert found["layer"].startswith("M0")


def test_page_fits_a_telephone(chromium, page):
    assert visit(chromium, page, 500)["width"] <= 500
