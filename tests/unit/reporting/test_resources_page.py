"""The page of resources: the numbers of benchmark files and training summaries, on the page and in its table."""

import json

import pandas as pd

from scan2map.reporting.resources_page import write_resource_page

STUDY = {"title": "A <study>", "kind": "bids"}


def benchmark(path, seconds, memory):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\tmean_load\n{seconds}\t0:00:01\t{memory}\t90\n")


def write(tmp_path):
    page, table = tmp_path / "resources.html", tmp_path / "resources.tsv"
    write_resource_page(tmp_path / "results", tmp_path / "benchmarks", page=page, table=table, study=STUDY)
    return page.read_text(), pd.read_csv(table, sep="\t")


def test_steps_stand_in_the_order_of_their_cost(tmp_path):
    benchmark(tmp_path / "benchmarks/fit_tensor/a.tsv", 10, 300)
    benchmark(tmp_path / "benchmarks/correct_motion/a.tsv", 30, 500)
    benchmark(tmp_path / "benchmarks/correct_motion/b.tsv", 50, 700)
    text, table = write(tmp_path)
    assert table["rule"].tolist() == ["correct_motion", "fit_tensor"]
    assert table["total_s"].tolist() == [80, 10]
    assert table["peak_mb"].tolist() == [700, 300]
    assert text.index("correct_motion") < text.index("fit_tensor")
    assert ">80.0<" in text
    assert "A &lt;study&gt;" in text
    described = json.loads((tmp_path / "resources.json").read_text())
    assert set(table.columns) <= set(described)


def test_trainings_tell_their_speed_and_memory(tmp_path):
    path = tmp_path / "results/models/toy/plain/fold-main/seed-3/summary.json"
    path.parent.mkdir(parents=True)
    summary = {"system": "toy", "variant": "plain", "fold": "main", "seed": 3, "steps": 40, "training_s": 90.0,
               "samples_per_s": 12.5, "device_name": "GPU X", "gpu_memory_mb": 2048}  # fmt: skip
    path.write_text(json.dumps(summary))
    text, _ = write(tmp_path)
    assert "toy, plain, fold main, seed 3" in text
    assert ">1.5<" in text
    assert ">2048<" in text


def test_a_study_without_measurements_says_so(tmp_path):
    text, table = write(tmp_path)
    assert table.empty
    assert "No job has left a measurement yet" in text
