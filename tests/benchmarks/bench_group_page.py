"""Group page of a large study: time to write it, its size, and how long a browser takes to open it and to sort.

The study is made of one synthetic session, whose tables are repeated under other labels with other numbers: regional
values, quality, comparison with the truth, and the maps of one learned system. Prints one row per size.

Use: PYTHONPATH=workflow/lib:tests python tests/benchmarks/bench_group_page.py [--subjects 20 200]
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from report_study import REPORT_SETTINGS, inventory_row, make_session

from scan2map.evaluation.long_table import Row, long_table, read_table, write_long_table
from scan2map.evaluation.roi_table import gather_rois
from scan2map.reporting.group_page import write_group_page

BOOTSTRAP = {"confidence": 0.95, "resamples": 9999, "seed": 1}
SPREAD = 0.05
PROBE = """<pre id="verdict"></pre><script>
addEventListener("load", () => {
  const opened = performance.now();
  const times = ["sessions", "quality"].map((name) => {
    const start = performance.now();
    document.querySelector(`table.${name}`).tHead.rows[0].cells[1].click();
    document.body.getBoundingClientRect();
    return performance.now() - start;
  });
  document.getElementById("verdict").textContent = JSON.stringify({ opened, sorted: Math.max(...times) });
});
</script></body>"""
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--timeout=60000")


def varied(path, out, subject: str, generator: np.random.Generator) -> Path:
    """A session's table under another label, every number a little different."""
    table = read_table(path).assign(subject=subject)
    table["value"] *= generator.normal(1, SPREAD, len(table))
    write_long_table(table, out, step="bench", description="repeated")
    return out


def model_table(out, subject: str, generator: np.random.Generator) -> Path:
    """Comparisons of a network's and a conventional map with the truth."""
    rows = []
    for roi in ("GM", "WM", "CSF"):
        for metric in ("cbf", "cbf_ls", "att", "att_ls"):
            names = ("root_mean_square_error", "bias", "mean", "mean_truth")
            rows += [Row(roi, metric, name, generator.normal(10, 1), "s", 99) for name in names]
        rows += [Row(roi, "cbf", f"coverage_{level}", level / 100, "1", 99) for level in (20, 50, 80, 90)]
    write_long_table(long_table(rows, subject=subject, session="1"), out, step="bench", description="made up")
    return out


def write_study(folder: Path, subjects: int) -> dict:
    """The tables of a study; returns the arguments of the group page."""
    generator, tree = np.random.default_rng(0), make_session(folder / "one")
    labels = [f"{number:04}" for number in range(1, subjects + 1)]
    kinds = {
        kind: [varied(tree.files[kind], folder / f"sub-{label}_ses-1_{kind}.tsv", label, generator) for label in labels]
        for kind in ("rois", "quality", "truth")
    }
    models = [model_table(folder / f"sub-{label}_ses-1_model.tsv", label, generator) for label in labels]
    gather_rois(kinds.pop("rois"), folder / "rois.tsv")
    rows = [inventory_row(name, subject=label) for label in labels for name in ("anat", "dwi", "asl")]
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    (folder / "inventory.tsv").write_text("\n".join("\t".join(line) for line in lines))
    tables = {"inventory": folder / "inventory.tsv", "rois": folder / "rois.tsv", "scanner": [], "targets": []}
    return {"files": tables | kinds, "models": {"asl_quantnet": models}}


def in_browser(page: Path) -> dict[str, float]:
    """Milliseconds until the page is there, and of the slower of two sorts; empty without a browser."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        return {}
    probed = page.with_name("probed.html")
    probed.write_text(page.read_text().replace("</body>", PROBE))
    command = [chromium, *FLAGS, f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", probed.as_uri()]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(re.search(r'<pre id="verdict">(.*?)</pre>', answer)[1])


def measure(subjects: int) -> str:
    """One row of the report."""
    with tempfile.TemporaryDirectory() as name:
        study, page = write_study(Path(name), subjects), Path(name) / "index.html"
        start, used = time.perf_counter(), time.process_time()
        write_group_page(
            study["files"], page, table=Path(name) / "group.tsv", ranges=Path(name) / "regions.js",
            study={"title": "Large", "kind": "phantom"},
            settings=REPORT_SETTINGS, bootstrap=BOOTSTRAP, models=study["models"],
        )  # fmt: skip
        wall, processor = time.perf_counter() - start, time.process_time() - used
        browser = in_browser(page)
        size = page.stat().st_size / 1e6
    words = ", ".join(f"{name} {value:.0f} ms" for name, value in browser.items())
    return f"{subjects} subjects: {wall:.1f} s ({processor:.1f} s of processor), {size:.2f} MB; browser: {words}"


def main() -> None:
    """Print one row per size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, nargs="+", default=[20, 200])
    for subjects in parser.parse_args().subjects:
        print(measure(subjects), flush=True)


if __name__ == "__main__":
    main()
