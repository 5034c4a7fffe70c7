"""Simulated scans of the diffusion VAE: clusters, heads, noise; and when the shells cannot carry a model."""

import numpy as np
import pytest
import torch

from scan2map.errors import DataError, SettingError
from scan2map.phantom.acquisition.gradients import dispersed_directions
from scan2map.systems.dwi_vae.identifiability import beyond_validity, require_identifiable, warnings_for
from scan2map.systems.dwi_vae.measured import load_scan, noise_sigma
from scan2map.systems.dwi_vae.scans import OFFSETS, neighbour_index, prepare_scan
from scan2map.systems.dwi_vae.signal_models import Tissue, signal_model
from scan2map.systems.dwi_vae.simulate import TISSUE_NAMES, draw_clusters
from scan2map.systems.dwi_vae.voxels import acquisition_of
from scan2map.training.dataset import load_subject


def test_clusters_are_those_of_the_paper():
    values, label = draw_clusters(4000, 0.05, np.random.default_rng(0))
    shares = np.bincount(label)[:3] / 4000
    assert shares == pytest.approx([0.5, 0.4, 0.1], abs=0.03)
    assert values[label == 0].mean(0) == pytest.approx([1.0e-3, 1.25], rel=0.01)
    assert values[label == 1].std(0) == pytest.approx([0.05e-3, 0.05], rel=0.1)
    outside = (values[label == 3] - [1.0e-3, 1.25]) / [1e-3, 1.0]
    assert np.linalg.norm(outside, axis=1).min() > 0.35


def test_a_head_has_water_and_fibres(vae_file):
    arrays, facts = load_subject(vae_file)
    assert not facts["measured"]
    water = arrays["label"] == TISSUE_NAMES.index("CSF")
    white = arrays["label"] == TISSUE_NAMES.index("WM")
    assert arrays["msdki"][water].mean(0) == pytest.approx([2.9e-3, 0.05], rel=0.1, abs=0.1)
    assert 0.2 < arrays["ball_stick"][white, 0].mean() < 0.6
    assert arrays["s0"][white].mean() == pytest.approx(1)
    first_shell = arrays["b_values"] == 1000
    expected = np.exp(
        -1.0 * 1e3 * arrays["msdki"][white, 0] + arrays["msdki"][white, 0] ** 2 * 1e6 * arrays["msdki"][white, 1] / 6
    )
    relative = arrays["compartments"][white][:, first_shell].mean(1) / expected
    assert np.median(relative) == pytest.approx(1, abs=0.05)


def test_the_same_noise_each_time_and_of_the_right_size(vae_file, vae_settings):
    settings = vae_settings(simulation={"source": "cluster", "snr": 20.0}, b_max_s_per_mm2=3500)
    first, second = (load_scan(vae_file, settings) for _ in range(2))
    assert torch.equal(first.voxels.signals, second.voxels.signals)
    other = load_scan(
        vae_file, vae_settings(simulation={"source": "cluster", "snr": 20.0, "seed": 2}, b_max_s_per_mm2=3500)
    )
    assert not torch.equal(first.voxels.signals, other.voxels.signals)
    assert first.voxels.sigma.mean() == pytest.approx(1 / 20, rel=0.02)
    assert first.voxels.acquisition.b_values.tolist() == [0, 1000, 2000, 3000]


@pytest.mark.parametrize(
    ("model", "source"),
    [("msdki", "head"), ("msdki", "tissue"), ("ball_stick", "head"), ("ball_stick", "compartments")],
)
def test_fits_of_a_quiet_head_are_near_its_truth(vae_file, vae_settings, model, source):
    scan = load_scan(vae_file, vae_settings(model=model, simulation={"source": source, "snr": 500.0}))
    white = scan.label == TISSUE_NAMES.index("WM")
    error = (scan.fit.tissue.values - scan.truth.values)[white][:, 1].abs() / scan.model.parameters[1].scale
    assert error.median() < 0.03


def test_heads_without_partial_volume_hold_one_tissue_per_voxel(vae_file, vae_settings):
    """Grey matter by hand: halves of D = 1.15 and of (0.60, 0.37, 0.37) µm²/ms, K = 3 Var(D)/D²; and its spread."""
    scan = load_scan(vae_file, vae_settings(simulation={"source": "tissue"}))
    assert scan.names == ("CSF", "GM", "WM")
    grey = scan.truth.values[scan.label == 1][:, 1:].numpy()
    mean = (1.15 + (0.6 + 2 * 0.37) / 3) / 2
    square = (1.15**2 + ((0.6 + 2 * 0.37) ** 2 + 2 * (0.6**2 + 2 * 0.37**2)) / 15) / 2
    assert grey.mean(0) == pytest.approx([1e-3 * mean, 3 * (square / mean**2 - 1)], rel=0.02)
    assert grey.std(0) == pytest.approx([0.05e-3, 0.05], rel=0.1)


def test_free_water_is_told_apart_from_tissue(vae_file, vae_settings):
    """The share of water and the tissue beside it make up the whole: D of both, weighted."""
    arrays, _ = load_subject(vae_file)
    d, _, water = arrays["msdki_water"].T
    assert (1 - water) * d + water * 3e-3 == pytest.approx(arrays["msdki"][:, 0], rel=1e-4)
    assert water[arrays["label"] == TISSUE_NAMES.index("CSF")].min() > 0.8
    scan = load_scan(vae_file, vae_settings(model="msdki_water", simulation={"snr": 500.0}, b_max_s_per_mm2=3500))
    some = scan.label == TISSUE_NAMES.index("mixed")
    assert (scan.fit.tissue.values - scan.truth.values)[some][:, 3].abs().median() < 0.05


def test_a_truth_that_there_is_not_is_refused(vae_file, vae_settings):
    with pytest.raises(SettingError, match="no simulated truth"):
        load_scan(vae_file, vae_settings(model="ball_stick", simulation={"source": "cluster"}))


def test_neighbours_are_the_26_around():
    mask = np.zeros((4, 4, 4), bool)
    mask[1:3, 1:3, 1:3] = True
    near = neighbour_index(mask)
    assert near.shape == (8, 26)
    assert (near >= 0).sum(1).tolist() == [7] * 8
    ahead = int(np.flatnonzero((OFFSETS == (0, 0, 1)).all(1))[0])
    assert near[0, ahead] == 1
    assert near[1, ahead] == -1


def _single_shell(model, settings):
    table = acquisition_of(np.r_[0, 0, np.full(12, 2500.0)], np.r_[np.zeros((2, 3)), dispersed_directions(12)])
    signals = torch.full((3, 14), 0.5) + 0.5 * (table.b_values == 0)
    return prepare_scan(signal_model(model), signals, 0.05, table, None, settings)


def test_kurtosis_from_a_single_shell_is_refused(vae_settings):
    with pytest.raises(DataError, match=r"not determined.*b = 0, 2500.*ball_stick_tied"):
        _single_shell("msdki", vae_settings())


def test_a_fibre_from_directions_in_a_plane_is_refused(vae_settings):
    angle = np.linspace(0, 3, 14)
    plane = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
    table = acquisition_of(np.r_[0, 0, np.full(12, 1000.0)], plane)
    with pytest.raises(DataError, match="too few directions"):
        prepare_scan(signal_model("ball_stick"), torch.ones(2, 14), 0.1, table, None, vae_settings(model="ball_stick"))


def test_water_beside_kurtosis_needs_four_b_values(vae_file, vae_settings):
    acquisition = load_scan(vae_file, vae_settings()).voxels.acquisition
    with pytest.raises(DataError, match="4 distinct b-values"):
        require_identifiable(signal_model("msdki_water"), acquisition)


def test_warnings_name_what_a_scan_can_hardly_tell(vae_settings):
    shell = _single_shell("ball_stick_tied", vae_settings(model="ball_stick_tied")).voxels.acquisition
    values = torch.tensor([[1, 0.5, 1e-3, 1e-3]], dtype=torch.float64)
    assert "single shell" in warnings_for(signal_model("ball_stick"), shell, Tissue(values, None))[0]
    assert not warnings_for(signal_model("ball_stick_tied"), shell, Tissue(values[:, :3], None))


def test_the_expansion_turns_at_three_over_dk():
    model = signal_model("msdki")
    table = acquisition_of([0, 1000, 2000, 3000], np.eye(4)[:, :3])
    values = torch.tensor([[1, 1e-3, 0.99], [1, 1e-3, 1.01]], dtype=torch.float64)
    assert beyond_validity(model, table, Tissue(values, None)).tolist() == [False, True]
    assert "3/(DK)" in warnings_for(model, table, Tissue(values, None))[0]


@pytest.mark.parametrize("b0_volumes", [6, 1])
def test_noise_is_found_with_and_without_repeats(b0_volumes):
    rng = np.random.default_rng(4)
    vectors = np.vstack([np.zeros((b0_volumes, 3)), dispersed_directions(30)])
    table = acquisition_of(np.r_[np.zeros(b0_volumes), np.full(30, 1000.0)], vectors)
    signal = 100 * np.exp(-table.b_values.numpy() * 1e-3 * (0.5 + vectors[:, 0] ** 2))
    assert noise_sigma(signal + 3 * rng.standard_normal((4000, len(signal))), table) == pytest.approx(3, rel=0.15)
