"""The whole digital subject: determinism, differences between subjects, and its parts together."""

import hashlib

import numpy as np
import pytest

from scan2map.errors import SettingError
from scan2map.phantom.subject import TISSUES, build_subject, pose

THUMBNAIL = {"voxel_size_mm": 4.0}
LESION = {"probability": 1.0, "position_mm": [28, -20, 30], "radius_mm": 12}


@pytest.fixture(scope="module")
def subject():
    return build_subject("01", THUMBNAIL, seed=7)


@pytest.fixture(scope="module")
def other():
    return build_subject("02", THUMBNAIL, seed=7)


def arrays(subject):
    plain = {name: value for name, value in vars(subject).items() if isinstance(value, np.ndarray)}
    parts = {f"{p.name} {what}": getattr(p, what) for p in subject.compartments() for what in ("fraction", "tensor")}
    return plain | subject.fractions | parts


def digest(subject):
    return {name: hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest() for name, a in arrays(subject).items()}


def test_the_same_seed_gives_the_same_bytes(subject):
    assert digest(build_subject("01", THUMBNAIL, seed=7)) == digest(subject)


@pytest.mark.parametrize("name", ["gm", "wm", "csf", "cbf_ml_100g_min", "field_hz", "fibre_direction", "hounsfield"])
def test_subjects_differ(subject, other, name):
    assert digest(subject)[name] != digest(other)[name]


def test_subjects_differ_as_heads_do(subject, other):
    overlap = np.minimum(subject.fractions["gm"], other.fractions["gm"]).sum()
    assert 0.4 < 2 * overlap / (subject.fractions["gm"].sum() + other.fractions["gm"].sum()) < 0.9


def test_another_seed_gives_another_head(subject):
    assert digest(build_subject("01", THUMBNAIL, seed=8))["gm"] != digest(subject)["gm"]


def test_arrays_share_one_grid_and_are_finite_single_precision(subject):
    for name, array in arrays(subject).items():
        if name == "affine":
            continue
        assert array.shape[:3] == subject.field_hz.shape, name
        assert array.dtype == (np.int16 if name == "territories" else np.float32), name
        assert np.isfinite(array).all(), name


def test_fractions_and_compartments_are_shares(subject):
    total = sum(subject.fractions.values())
    assert set(subject.fractions) == set(TISSUES)
    assert min(f.min() for f in subject.fractions.values()) >= 0
    assert total.max() <= 1 + 1e-5
    parts = sum(part.fraction for part in subject.compartments())
    np.testing.assert_allclose(parts[total > 0.01], 1, atol=1e-5)
    assert all(part.tissue in TISSUES for part in subject.compartments())


def test_fibre_directions_are_unit_vectors_and_fractions_are_those_of_axons(subject):
    np.testing.assert_allclose(np.linalg.norm(subject.fibre_direction, axis=-1), 1, atol=1e-5)
    assert 0 <= subject.fibre_fraction.min() <= subject.fibre_fraction.max() <= 0.7
    stick = next(part for part in subject.compartments() if part.name == "stick")
    white = subject.fractions["wm"] > 0.99
    np.testing.assert_allclose(
        stick.fraction[white], (subject.fractions["wm"] * subject.fibre_fraction)[white], atol=0.01
    )


def test_first_cumulants_are_plausible_by_tissue(subject):
    from dipy.reconst.dti import fractional_anisotropy, mean_diffusivity

    for name, fa_range, md_range in (
        ("wm", (0.40, 0.72), (0.70e-3, 0.82e-3)),
        ("gm", (0.05, 0.15), (0.75e-3, 0.90e-3)),
        ("csf", (0.0, 0.02), (2.5e-3, 3.01e-3)),
    ):
        pure = subject.fractions[name] > 0.9
        six = sum(part.fraction[pure][:, None] * part.tensor[pure] for part in subject.compartments())
        values = np.linalg.eigvalsh(six[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3))
        assert fa_range[0] <= np.median(fractional_anisotropy(values)) <= fa_range[1], name
        assert md_range[0] <= np.median(mean_diffusivity(values)) <= md_range[1], name


def test_the_brain_has_a_plausible_size(subject, other):
    for one in (subject, other):
        litres = float((one.fractions["gm"] + one.fractions["wm"]).sum()) * 64 / 1e6
        assert 1.0 < litres < 1.7


def test_perfusion_is_present_only_in_brain_tissue(subject):
    tissue = subject.fractions["gm"] + subject.fractions["wm"] > 0
    assert not subject.cbf_ml_100g_min[~tissue].any()
    assert not subject.att_s[~tissue].any()
    assert (subject.territories[tissue] > 0).all()


def test_ct_shows_air_skull_and_brain(subject):
    assert subject.hounsfield[0, 0, -1] == -1000
    assert subject.hounsfield[subject.fractions["skull"] > 0.9].min() > 400
    assert 28 < subject.hounsfield[subject.fractions["gm"] > 0.95].mean() < 38


def test_a_lesion_shows_in_every_map(subject):
    hurt = build_subject("01", THUMBNAIL | {"lesion": LESION}, seed=7)
    core = hurt.fractions["lesion"] > 0.99
    assert core.sum() >= 20
    assert hurt.lesion is not None
    np.testing.assert_allclose(hurt.cbf_ml_100g_min[core], 0.3 * subject.cbf_ml_100g_min[core], rtol=0.05)
    np.testing.assert_allclose(hurt.att_s[core], subject.att_s[core] + 1.0, atol=0.05)
    assert hurt.hounsfield[core].mean() == pytest.approx(33 - 6, abs=1)
    assert hurt.t2_s["lesion"] > hurt.t2_s["gm"]
    far = ~(hurt.fractions["lesion"] > 0) & (hurt.cbf_ml_100g_min == subject.cbf_ml_100g_min)
    np.testing.assert_array_equal(hurt.field_hz, subject.field_hz)
    assert far.mean() > 0.9


def test_a_lesion_outside_the_brain_is_refused():
    with pytest.raises(SettingError, match="misses the brain"):
        build_subject("01", THUMBNAIL | {"lesion": LESION | {"position_mm": [0, 100, -80], "radius_mm": 3}}, seed=7)


def test_an_unknown_setting_is_refused():
    with pytest.raises(SettingError, match="voxel_size"):
        build_subject("01", {"voxel_size": 4.0}, seed=7)


def test_poses_are_small_rigid_and_belong_to_the_session():
    first, second = pose("01", "1", 7), pose("01", "2", 7)
    np.testing.assert_array_equal(first, pose("01", "1", 7))
    assert not np.allclose(first, second)
    for matrix in (first, second):
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.degrees(np.arccos((np.trace(matrix[:3, :3]) - 1) / 2)) < 12
        assert np.abs(matrix[:3, 3]).max() < 15
