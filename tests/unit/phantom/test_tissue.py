"""Diffusion compartments and CT numbers: what they add up to in pure tissue."""

import numpy as np
import pytest

from scan2map.phantom import tissue
from scan2map.phantom.fibres import FibreField
from scan2map.phantom.records import LesionSpec

SHAPE = (4, 1, 1)
LESION = LesionSpec((0, 0, 0), 8.0, 0.0, 0.3, 1.0, 1.2, 1.6, 0.5e-3, -6.0)
EMPTY = dict.fromkeys(("csf", "gm", "wm", "lesion", "skull", "scalp"), np.zeros(SHAPE, np.float32))


def fibres(coherence=0.9):
    direction = np.zeros((*SHAPE, 3), np.float32)
    direction[...] = (0.6, 0, 0.8)
    full = np.ones(SHAPE, np.float32)
    return FibreField(direction, 0.60 * full, coherence * full)


def only(name):
    return EMPTY | {name: np.ones(SHAPE, np.float32)}


def first_cumulant(parts):
    return sum(part.fraction[..., None] * part.tensor for part in parts)[0, 0, 0]


def eigenvalues(elements):
    xx, xy, xz, yy, yz, zz = elements
    return np.linalg.eigvalsh([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def fa_md(parts):
    from dipy.reconst.dti import fractional_anisotropy, mean_diffusivity

    values = eigenvalues(first_cumulant(parts))
    return fractional_anisotropy(values), mean_diffusivity(values)


def mean_kurtosis(parts, directions=600):
    """Apparent excess kurtosis of a sum of Gaussians, 3 Var(D)/mean(D)² per direction, averaged over the sphere."""
    rng = np.random.default_rng(0)
    g = rng.standard_normal((directions, 3))
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    weights = np.stack([g[:, 0] ** 2, 2 * g[:, 0] * g[:, 1], 2 * g[:, 0] * g[:, 2],
                        g[:, 1] ** 2, 2 * g[:, 1] * g[:, 2], g[:, 2] ** 2])  # fmt: skip
    share = np.array([part.fraction[0, 0, 0] for part in parts])
    apparent = np.stack([part.tensor[0, 0, 0] @ weights for part in parts])
    mean = share @ apparent
    return float((3 * (share @ apparent**2 - mean**2) / mean**2).mean())


def test_white_matter_core_has_the_fa_and_md_of_the_literature():
    fa, md = fa_md(tissue.diffusion_compartments(only("wm"), fibres(), None))
    assert 0.65 < fa < 0.78
    assert 0.70e-3 < md < 0.80e-3


def test_less_coherent_fibres_lower_fa_and_keep_md():
    core, crossing = (fa_md(tissue.diffusion_compartments(only("wm"), fibres(c), None)) for c in (0.9, 0.3))
    assert crossing[0] < 0.6 * core[0]
    assert crossing[1] == pytest.approx(core[1], rel=1e-3)


def test_the_fibre_is_the_first_eigenvector():
    xx, xy, xz, yy, yz, zz = first_cumulant(tissue.diffusion_compartments(only("wm"), fibres(), None))
    _, vectors = np.linalg.eigh([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    assert abs(vectors[:, 2] @ (0.6, 0, 0.8)) == pytest.approx(1, abs=1e-5)


def test_the_stick_has_no_radial_diffusion():
    stick = next(p for p in tissue.white_matter_compartments(only("wm")["wm"], fibres()) if p.name == "stick")
    np.testing.assert_allclose(eigenvalues(stick.tensor[0, 0, 0]), (0, 0, 1.7e-3), atol=1e-9)


def test_grey_matter_is_nearly_isotropic_with_the_kurtosis_of_the_literature():
    parts = tissue.diffusion_compartments(only("gm"), fibres(), None)
    fa, md = fa_md(parts)
    assert 0.05 < fa < 0.13
    assert 0.75e-3 < md < 0.85e-3
    assert 0.5 < mean_kurtosis(parts) < 0.8


@pytest.mark.parametrize("coherence", [0.5, 0.8])
def test_white_matter_kurtosis_is_near_one(coherence):
    assert 0.7 < mean_kurtosis(tissue.diffusion_compartments(only("wm"), fibres(coherence), None)) < 1.4


def test_csf_is_free_water():
    fa, md = fa_md(tissue.diffusion_compartments(only("csf"), fibres(), None))
    assert fa == pytest.approx(0, abs=1e-5)
    assert md == pytest.approx(3e-3)


def test_a_lesion_has_its_own_diffusivity():
    assert fa_md(tissue.diffusion_compartments(only("lesion"), fibres(), LESION))[1] == pytest.approx(0.5e-3)


@pytest.mark.parametrize("name", EMPTY)
def test_the_shares_add_up_to_one_in_tissue(name):
    half_air = EMPTY | {name: np.full(SHAPE, 0.4, np.float32)}
    total = sum(part.fraction for part in tissue.diffusion_compartments(half_air, fibres(), None))
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_there_are_no_compartments_in_air():
    assert not any(part.fraction.any() for part in tissue.diffusion_compartments(EMPTY, fibres(), None))


@pytest.mark.parametrize(("name", "expected"), [("csf", 5), ("gm", 37), ("wm", 29), ("scalp", 40)])
def test_ct_numbers_of_pure_tissue(name, expected):
    np.testing.assert_allclose(tissue.hounsfield(only(name), np.zeros(SHAPE)), expected)


def test_ct_numbers_of_air_bone_and_mixtures():
    depth = np.array([0, 0.25, 0.5, 1]).reshape(SHAPE)
    np.testing.assert_allclose(tissue.hounsfield(EMPTY, depth), -1000)
    np.testing.assert_allclose(tissue.hounsfield(only("skull"), depth).ravel(), (1500, 825, 600, 1500))
    mixed = EMPTY | {"gm": np.full(SHAPE, 0.5, np.float32)}
    np.testing.assert_allclose(tissue.hounsfield(mixed, depth), 0.5 * 37 - 500)


def test_lesion_relaxation_times_follow_the_factors():
    t1, t2, _ = tissue.relaxation_times(LESION)
    assert t1["lesion"] == pytest.approx(1.2 * (1.35 + 0.81) / 2)
    assert t2["lesion"] == pytest.approx(1.6 * (0.099 + 0.069) / 2)


def test_relaxation_tables_name_every_tissue_and_t2star_is_shortest():
    t1, t2, t2star = tissue.relaxation_times(None)
    assert set(t1) == set(t2) == set(t2star) == set(EMPTY) == set(tissue.PROTON_DENSITY)
    assert all(t2star[name] < t2[name] < t1[name] for name in t1)
