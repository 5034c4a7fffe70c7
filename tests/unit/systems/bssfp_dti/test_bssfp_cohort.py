"""Simulated subjects at thumbnail size, and what their signal knows of fibres with and without the orientation term."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from scan2map.config import check_block, load_system_schema, merge
from scan2map.physics.diffusion import principal_direction, tensor_scalars
from scan2map.systems.bssfp_dti.cohort import simulate_cohort_subject
from scan2map.systems.bssfp_dti.orientation import fibre_angle_r2, inclination_errors_deg

THUMBNAIL = {
    "voxel_size_mm": 4.0,
    "head": {"voxel_size_mm": 4.0, "fibres": {"direction_sd_deg": 6.0}},
    # Noise as good as none: the question is what the signal carries.
    "bssfp": {"sessions": 1, "voxel_size_mm": 4.0, "snr": 1000.0},
    "dwi": {"sessions": 2, "directions": 12, "b0_volumes": 2},
}


def simulate(label="L01", **changes):
    settings = check_block("data", merge(THUMBNAIL, changes), load_system_schema("bssfp_dti")["properties"]["data"])
    return simulate_cohort_subject(label, settings)


@pytest.fixture(scope="module")
def subject():
    return simulate()


@pytest.fixture(scope="module")
def without():
    """The same head and noise, signal without the orientation term."""
    return simulate(bssfp={"orientation": False})[0]


def test_arrays_share_the_grid_and_hold_every_session(subject):
    arrays, facts = subject
    grid = arrays["mask"].shape
    assert facts["voxel_size_mm"] == 4.0
    shapes = {name: values.shape for name, values in arrays.items()}
    assert shapes == {
        "bssfp": (1, 24, *grid), "tensor": (2, 6, *grid), "truth": (6, *grid), "t1w": grid, "mask": grid,
        "tissue": (3, *grid), "template_mm": (3, *grid), "registered_mm": (3, *grid),
    }  # fmt: skip
    outside = arrays["mask"] == 0
    assert not arrays["bssfp"][..., outside].any()
    assert not arrays["tensor"][..., outside].any()


def test_tissues_have_their_diffusivities_and_sessions_their_own_noise(subject):
    arrays, _ = subject
    white, fluid = arrays["tissue"][2] > 0.95, arrays["tissue"][0] > 0.95
    ideal = tensor_scalars(np.moveaxis(arrays["truth"], 0, -1).astype(float))
    assert 0.6 < np.median(ideal.md[white]) < 0.9
    assert np.median(ideal.md[fluid]) == pytest.approx(3.0, abs=0.1)
    errors = [session[:, white].astype(float) - arrays["truth"][:, white] for session in arrays["tensor"]]
    assert np.abs(np.corrcoef(*(error.ravel() for error in errors))[0, 1]) < 0.2
    assert 0.005 < np.std(errors[0]) < 0.2


def test_the_signal_shows_the_fibre_angle_only_with_the_orientation_term(subject, without):
    """Voxel by voxel and across hemispheres: a sixth of the variance of sin² with the term, nothing without."""
    assert fibre_angle_r2(subject[0]) > 0.15
    assert fibre_angle_r2(without) < 0.05


def standard_places(mask):
    """Voxels (x, y, z, 3) relative to middle and extent of the brain."""
    inside = np.argwhere(mask > 0)
    return (np.moveaxis(np.indices(mask.shape), 0, -1) - inside.mean(0)) / inside.std(0)


def test_without_the_term_the_direction_is_no_better_than_anatomy(subject, without):
    """Anatomy is another head, laid over by its extent: 11.6° off, 10.7° with the signal, 11.5° without the term."""
    other, _ = simulate("L02")
    brain = other["mask"] > 0
    places, wanted = standard_places(other["mask"])[brain], standard_places(subject[0]["mask"])
    _, nearest = cKDTree(places).query(wanted.reshape(-1, 3))
    directions = principal_direction(np.moveaxis(other["truth"], 0, -1)[brain].astype(float))
    expected = directions[nearest].reshape(wanted.shape)
    anatomy, with_term = inclination_errors_deg(subject[0], expected)
    same_anatomy, without_term = inclination_errors_deg(without, expected)
    assert same_anatomy == pytest.approx(anatomy)
    assert with_term < 0.95 * anatomy
    assert without_term == pytest.approx(anatomy, rel=0.02)


def test_too_little_white_matter_tells_nothing(subject):
    arrays = subject[0] | {"tissue": 0 * subject[0]["tissue"]}
    assert np.isnan(fibre_angle_r2(arrays))
