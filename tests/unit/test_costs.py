import io

from scan2map import costs


def benchmark(path, seconds, memory):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\tmean_load\n{seconds}\t0:00:01\t{memory}\t90\n")


def test_costs_are_the_mean_time_and_the_greatest_memory_of_a_rule(tmp_path):
    benchmark(tmp_path / "fit_tensor" / "a.tsv", 10, 300)
    benchmark(tmp_path / "fit_tensor" / "b.tsv", 20, 500)
    assert costs.measured_costs(tmp_path) == {"fit_tensor": costs.Cost(2, 15.0, 500.0, 90.0)}


def test_a_job_too_short_to_be_sampled_counts_as_nothing(tmp_path):
    benchmark(tmp_path / "gather_rois" / "a.tsv", 0.1, "NA")
    assert costs.measured_costs(tmp_path)["gather_rois"].peak_mb == 0


def test_disk_of_a_session_counts_bids_files_and_all_derivatives(tmp_path):
    for folder in ("bids/sub-01/ses-01/anat", "derivatives/scan2map/sub-01/ses-01/anat", "bids/sub-02/ses-01/anat"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "map.nii.gz").write_bytes(b"0" * 3_000_000)
    assert costs.session_disk_mb(tmp_path) == (6 + 3) / 2
    assert costs.session_disk_mb(tmp_path / "bids") is None


def test_the_table_of_a_study_reads_back(tmp_path):
    benchmark(tmp_path / "logs" / "fit_tensor" / "a.tsv", 10, 300)
    table = io.StringIO()
    costs.write_costs(tmp_path, tmp_path / "logs", table)
    (tmp_path / "costs.tsv").write_text(table.getvalue())
    assert costs.reference_costs(tmp_path / "costs.tsv")["fit_tensor"] == costs.Cost(1, 10, 300, 90)


def test_the_costs_that_ship_are_plausible():
    shipped = costs.reference_costs()
    assert 10 < shipped.pop(costs.DISK).peak_mb < 10_000
    assert all(0 < cost.seconds < 7200 and 0 < cost.peak_mb < 16_000 for cost in shipped.values())
