"""The pages in a real browser, opened from a file path: the scripts run, the viewer shows what the files hold."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_study import BOOTSTRAP, REPORT_SETTINGS, SERIES, inventory_row, make_session
from synthetic_tree import VALUES

from scan2map.evaluation.roi_table import gather_rois
from scan2map.reporting.group_page import write_group_page
from scan2map.reporting.ranges import write_ranges
from scan2map.reporting.subject_page import write_subject_page
from scan2map.reporting.tracing import read_traced
from scan2map.tables import read_table

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--hide-scrollbars", "--virtual-time-budget=12000",
)  # fmt: skip
SCRIPT = "<script>window.pwned = 1</script>"
ODD_SERIES = [SERIES[1] | {"number": "3", "description": name} for name in (SCRIPT, "a_very_long_name" * 30)]
PROBE = """
const lit = (canvas) => {  // pixels of the last drawing, read before the browser composes it
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const context = copy.getContext("2d");
  context.drawImage(canvas, 0, 0);
  const pixels = context.getImageData(0, 0, copy.width, copy.height).data;
  return pixels.filter((value, place) => place % 4 !== 3 && value > 40).length;
};
const shownSum = (viewer) => { viewer.view.drawScene(); return lit(viewer.canvas); };
const started = async (id) => {
  const figure = document.getElementById(id);
  figure.querySelector("canvas").focus({ preventScroll: true });
  await figure.viewer.ready;
  return figure;
};
async function probe(found) {
  await wait(300);
  found.pwned = window.pwned === 1;
  found.series = [...document.querySelectorAll("#series tbody th")].map((cell) => cell.textContent);
  found.title = document.querySelector(".kicker").textContent;
  const compare = document.querySelector("#opposed-b0 .compare");
  found.live = compare.classList.contains("live");
  const shown = () => [...compare.querySelectorAll(".shot")].map((shot) => getComputedStyle(shot).visibility);
  found.before = shown();
  compare.querySelectorAll(".segments button")[2].click();
  found.chosen = shown();
  const played = new Set();
  compare.querySelector(".flicker").click();
  for (let step = 0; step < 5; step += 1) { played.add(shown().indexOf("visible")); await wait(350); }
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
  found.waiting = document.querySelector("#viewer-perfusion").viewer === undefined;
  const other = await started("viewer-diffusion");
  const figure = await started("viewer-perfusion");
  const viewer = figure.viewer;
  const readout = () => figure.querySelector(".readout").textContent;
  const keys = (key) => viewer.canvas.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  found.start = readout();
  found.lit = shownSum(viewer);
  keys("PageUp");
  found.up = readout();
  found.linked = other.querySelector(".readout").textContent;
  figure.querySelector(".linked").click();
  keys("PageUp");
  found.unlinked = [readout(), other.querySelector(".readout").textContent];
  found.overlay = viewer.view.volumes.length;
  keys("-");
  found.opacity = viewer.view.volumes[1].opacity;
  figure.querySelector(".outlines").click();
  await wait(300);
  found.outlined = viewer.view.volumes.length;
  figure.querySelector(".outlines").click();
  keys("o");
  await wait(300);
  found.without = [readout(), viewer.view.volumes.length];
  found.plain = shownSum(viewer);
  figure.querySelectorAll(".bases button")[1].click();
  await wait(300);
  found.base = readout();
  figure.querySelectorAll(".overlays button")[1].click();
  figure.querySelector(".colours").value = "viridis";
  figure.querySelector(".colours").dispatchEvent(new Event("change"));
  await wait(300);
  found.colours = viewer.view.volumes[1].colormap;
  viewer.view.scene.crosshairPos = [0.01, 0.01, 0.01];
  viewer.view.createOnLocationChange();
  found.edge = readout();
  const range = document.querySelector("#regions [data-region]");
  found.range = [range.textContent, range.dataset.source, range.title];
  const words = document.getElementById("ranges");
  found.sessions = words.checkVisibility() && words.querySelector(".sessions-count").textContent;
  const table = document.querySelector("#series table");
  found.seriesWidth = table.offsetWidth - table.parentElement.clientWidth;
  found.fetched = performance.getEntriesByType("resource").map((entry) => entry.name);
}
"""
WIDTH_PROBE = """
async function probe(found) {
  found.width = document.documentElement.scrollWidth;
}
"""
GROUP_PROBE = """
async function probe(found) {
  found.saved = [];
  found.pwned = window.pwned === 1;
  found.sessions = [...document.querySelectorAll(".sessions tbody th")].map((cell) => cell.textContent);
  found.links = [...document.querySelectorAll(".chart a")].map((link) => link.getAttribute("href"));
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
}
"""
FRAME = """<pre id="verdict"></pre>
<script>
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
{probe}
addEventListener("load", async () => {
  const found = {};
  try { await probe(found); } catch (error) { window.problems.push(error.stack); }
  found.errors = window.problems;
  document.getElementById("verdict").textContent = JSON.stringify(found);
});
</script>
"""
# A small stage: there is no graphics card here.
WATCH = """<style>.stage { height: 10rem !important; width: 32rem; }</style>
<script>
window.problems = [];
addEventListener("error", (event) => window.problems.push(event.message));
addEventListener("unhandledrejection", (event) => window.problems.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => window.problems.push(`not allowed: ${event.blockedURI}`));
for (const name of ["error", "warn"]) {
  const say = console[name];
  console[name] = (...words) => { window.problems.push(words.join(" ")); say(...words); };
}
</script>"""


@pytest.fixture(scope="module")
def chromium():
    found = next((path for path in map(shutil.which, PROGRAMS) if path), None)
    if found is None:
        pytest.skip(f"no browser: install one of {', '.join(PROGRAMS)} to run this test")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    tree, other = make_session(folder), make_session(folder / "other", "02")
    out = folder / "sub-01_ses-1.html"
    gather_rois([tree.files["rois"], other.files["rois"]], folder / "rois.tsv")
    write_ranges(folder / "regions.js", read_traced(folder / "rois.tsv", out))
    write_subject_page(
        tree.files,
        out,
        subject="01",
        session="1",
        inventory=tree.inventory,
        series=SERIES + ODD_SERIES,
        study={"title": f"Study {SCRIPT}", "kind": "phantom"},
        settings=REPORT_SETTINGS,
    )
    return out


def screenshots():
    """Folder where pictures of the pages are kept: of SCAN2MAP_SCREENSHOTS, or work/screenshots of the checkout."""
    folder = Path(os.environ.get("SCAN2MAP_SCREENSHOTS", ROOT / "work" / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def visit(chromium, page, width, probe=PROBE):
    """Open the page with the probe appended; returns what the probe found, keeps a picture."""
    text = (
        page.read_text()
        .replace("<head>", "<head>" + WATCH)
        .replace("</body>", FRAME.replace("{probe}", probe) + "</body>")
    )
    probed = page.with_name(f"probed-{width}-{page.name}")
    probed.write_text(text)
    profile = f"--user-data-dir={page.parent / f'profile-{width}'}"
    picture = f"--screenshot={screenshots() / f'{page.stem}-{width}.png'}"
    command = [chromium, *FLAGS, profile, picture, f"--window-size={width},1000", "--dump-dom", probed.as_uri()]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True)
    verdict = re.search(r'<pre id="verdict">(.*?)</pre>', answer.stdout, re.DOTALL)
    assert verdict, answer.stderr[-2000:]
    assert verdict[1], "the page's script did not finish"
    return json.loads(verdict[1].replace("&gt;", ">").replace("&lt;", "<"))


@pytest.fixture(scope="module")
def found(chromium, page):
    return visit(chromium, page, 1280)


def test_no_script_fails(found):
    assert found["errors"] == []


def test_names_that_look_like_code_are_text(found, group):
    assert not found["pwned"]
    assert not group["pwned"]
    assert {row["description"] for row in ODD_SERIES} <= set(found["series"])
    assert SCRIPT in found["title"]
    assert any(SCRIPT in text for text in group["sessions"])


def test_points_of_the_group_page_lead_to_the_sessions(group):
    assert {"sub-01_ses-1.html", "sub-02_ses-1.html"} <= set(group["links"])


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
    rows.append(inventory_row("anat", "failed", "no image", subject=SCRIPT))
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    (folder / "inventory.tsv").write_text("\n".join("\t".join(line) for line in lines))
    files = {"inventory": folder / "inventory.tsv", "rois": folder / "rois.tsv", "scanner": [], "targets": []}
    files |= {kind: [tree.files[kind] for tree in trees] for kind in ("quality", "truth")}
    study = {"title": "S", "kind": "phantom"}
    write_group_page(files, folder / "index.html", table=folder / "group.tsv", ranges=folder / "regions.js",
                     study=study, settings=REPORT_SETTINGS, bootstrap=BOOTSTRAP)  # fmt: skip
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
    assert group["up"][1] == "ascending"
    assert group["down"][1] == "descending"
    assert group["up"][0] != group["down"][0]
    assert {"sub-02", "sub-01"} & {group["up"][0], group["down"][0]}


def place_of(readout):
    """World coordinates of the cursor, mm."""
    return [int(number) for number in re.search(r"at x (-?\d+), y (-?\d+), z (-?\d+) mm", readout).groups()]


def test_page_asks_nobody_for_anything(found):
    assert found["fetched"] == []


def test_regional_values_stand_beside_the_range_over_the_study(found, page):
    text, sources, title = found["range"]
    assert re.fullmatch(r"[\d.]+ [\d.]+ to [\d.]+", text)
    assert [source.partition("#")[0] for source in sources.split()][1:] == ["rois.tsv"] * 2
    assert title == sources
    assert found["sessions"] == "2"


def test_a_very_long_name_does_not_push_the_other_columns_away(found):
    assert found["seriesWidth"] == 0


def test_viewer_starts_when_it_is_looked_at_and_shows_something(found):
    assert found["waiting"]
    assert found["lit"] > 500


def test_viewer_changes_slice_by_keyboard_and_leads_the_others(found):
    start, up, linked = map(place_of, (found["start"], found["up"], found["linked"]))
    assert up[2] > start[2]
    assert max(abs(one - other) for one, other in zip(up, linked, strict=True)) <= 4
    moved, stayed = map(place_of, found["unlinked"])
    assert moved[2] > up[2]
    assert stayed == linked


def test_viewer_changes_overlay_opacity_colours_and_outline(found):
    assert found["overlay"] == 2
    assert found["opacity"] == pytest.approx(0.6)
    assert found["outlined"] == 3
    assert found["without"][1] == 1
    assert "CBF" in found["start"]
    assert "CBF" not in found["without"][0]
    assert found["plain"] != found["lit"]
    assert found["base"].startswith("ΔM")
    assert found["colours"] == "viridis"


def test_viewer_reads_values_back_in_their_unit(found):
    value = float(re.search(r"CBF ([\d.]+) ml/100 g/min", found["start"])[1])
    assert value == pytest.approx(VALUES["CBF"][2], abs=120 / 254)
    assert "outside the brain" in found["edge"]


def test_page_fits_a_telephone(chromium, page):
    assert visit(chromium, page, 500, WIDTH_PROBE)["width"] <= 500
