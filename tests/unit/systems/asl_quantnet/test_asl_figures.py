"""Numbers behind the figures, and pictures that are the same bytes every time."""

import pandas as pd
import pytest

from scan2map.reporting.plots import image_of_voxels, save_figure
from scan2map.systems.asl_quantnet import figures


@pytest.fixture
def table():
    """Two subjects; the network is proportional, the control is not; least squares errs twice as much."""
    rows = []
    for subject, factor in (("a", 1.0), ("b", 1.2)):
        for scale in (0.5, 1.0, 2.0):
            for roi in ("GM", "WM"):
                common = {"subject": subject, "method": "network", "condition": f"scale={scale:g}", "roi": roi}
                rows.append({**common, "variant": "local", "metric": "cbf_mean", "value": 50 * factor * scale})
                rows.append({**common, "variant": "groupnorm", "metric": "cbf_mean", "value": 50 * factor})
        for snr in (1, 10):
            for metric, *_ in figures.PANELS:
                for method, error in (("network", 2.0), ("ls", 4.0)):
                    rows.append(
                        {
                            "subject": subject,
                            "variant": "local",
                            "method": method,
                            "condition": f"snr={snr}",
                            "roi": "tissue",
                            "metric": metric,
                            "value": error * factor / snr,
                        }
                    )
    return pd.DataFrame(rows)


def test_relative_perfusion_over_scale(table):
    found = figures.linearity_numbers(table).set_index(["variant", "roi", "scale"])["mean"]
    assert found["local", "GM", 2.0] == pytest.approx(2.0)
    assert found["groupnorm", "WM", 0.5] == pytest.approx(1.0)


def test_errors_over_noise_span_the_subjects(table):
    found = figures.noise_numbers(table, "local").set_index(["metric", "method", "snr_gm"])
    row = found.loc[("cbf_rmse", "ls", 1.0)]
    assert (row["min"], row["mean"], row["max"]) == pytest.approx((4.0, 4.4, 4.8))


def test_pictures_are_reproducible(table, tmp_path):
    for name in ("one.svg", "two.svg"):
        save_figure(figures.plot_linearity(figures.linearity_numbers(table)), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    save_figure(figures.plot_noise(figures.noise_numbers(table, "local")), tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size > 5000


def test_maps_figure_shows_every_voxel_it_is_given():
    rows = [
        {"map": name, "y": y, "x": x, **dict.fromkeys(figures.MAP_COLUMNS, float(y + x))}
        for name in ("cbf", "att") for y in range(3, 9) for x in range(2, 8)
    ]  # fmt: skip
    numbers = pd.DataFrame(rows)
    picture = image_of_voxels(numbers[numbers["map"] == "cbf"], "network", border=1)
    assert picture[1, 1] == 5.0  # the first voxel, y 3 and x 2, one voxel off the edge
    assert picture[2, 4] == 9.0
    assert int((picture == picture).sum()) == 36
    assert len(figures.plot_maps(numbers).axes) == 12
