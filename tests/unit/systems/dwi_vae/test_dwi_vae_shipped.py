"""The package that ships: better than the voxel-wise fit on a scan that it never saw, and it says how sure it is."""

from pathlib import Path

import pytest

from scan2map.config import merge
from scan2map.errors import DataError
from scan2map.systems.dwi_vae.evaluate import groups
from scan2map.systems.dwi_vae.least_squares import fit_voxels
from scan2map.systems.dwi_vae.measured import load_scan
from scan2map.systems.dwi_vae.prediction import predict_scan
from scan2map.training.acquisition import check_acquisition
from scan2map.training.package import load_package

SHIPPED = Path("resources/models/dwi_vae")


@pytest.fixture(scope="module")
def package():
    return load_package(SHIPPED)


def test_it_has_a_network_per_seed_and_is_small_enough_for_git(package):
    assert len(package.members) == 5
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 3e6


def test_kurtosis_in_noise_and_what_its_interval_covers(package, vae_file):
    """Another protocol (12 directions a shell, 8 mm) at SNR 15, about SNR 5 of what it was trained on."""
    scan = load_scan(vae_file, merge(dict(package.settings), {"simulation": {"snr": 15.0}}))
    inside = groups(scan)["tissue"]
    found = predict_scan(package.members[:1], scan, 39)
    fitted = fit_voxels(scan.model, scan.voxels, "gaussian").tissue.values
    wrong = [(values - scan.truth.values)[inside, 2].square().mean() for values in (found.tissue.values, fitted)]
    assert wrong[0] < 0.6 * wrong[1]
    covered = (found.low <= scan.truth.values) & (scan.truth.values <= found.high)
    assert covered[inside, 2].double().mean() > 0.75


def test_a_scan_without_shells_is_refused(package):
    with pytest.raises(DataError, match="shells = 1"):
        check_acquisition(package.config["acquisition"], {"shells": 1, "directions": 30}, package.name)
