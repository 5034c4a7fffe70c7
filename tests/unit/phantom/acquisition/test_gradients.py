"""Gradient tables: counts, spread, order."""

import numpy as np
import pytest

from scan2map.phantom.acquisition.gradients import dispersed_directions, multi_shell_table, spiral_directions

SHELLS = [{"b_value_s_per_mm2": 1000, "directions": 20}, {"b_value_s_per_mm2": 3000, "directions": 10}]


def smallest_angle_deg(vectors):
    cosine = np.abs(vectors @ vectors.T) - 2 * np.eye(len(vectors))
    return np.degrees(np.arccos(cosine.max()))


def energy(vectors):
    pairs = np.triu_indices(len(vectors), 1)
    return sum((1 / np.linalg.norm(a - b, axis=-1) + 1 / np.linalg.norm(a + b, axis=-1)).sum()
               for a, b in [(vectors[pairs[0]], vectors[pairs[1]])])  # fmt: skip


def test_directions_are_unit_and_dispersed_beyond_the_start():
    vectors = dispersed_directions(24)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(24))
    assert energy(vectors) < energy(spiral_directions(24))
    assert smallest_angle_deg(vectors) > 20  # 24 axes cannot be further apart than about 25 degrees


def test_six_directions_find_the_icosahedron():
    assert smallest_angle_deg(dispersed_directions(6)) == pytest.approx(63.43, abs=0.5)


def test_the_shell_covers_the_whole_sphere():
    assert np.linalg.norm(dispersed_directions(30).mean(0)) < 0.2


def test_table_has_each_shell_and_starts_without_weighting():
    table = multi_shell_table(SHELLS, 4)
    assert table.b_values[0] == 0
    assert [int((table.b_values == b).sum()) for b in (0, 1000, 3000)] == [4, 20, 10]
    norms = np.linalg.norm(table.b_vectors, axis=1)
    assert norms == pytest.approx((table.b_values > 0).astype(float))


def test_volumes_without_weighting_are_spread_over_the_scan():
    table = multi_shell_table(SHELLS, 4)
    assert np.diff(np.flatnonzero(table.b_values == 0)).max() <= 10


def test_shells_have_different_directions_and_the_table_is_reproducible():
    first, second = multi_shell_table([SHELLS[0], SHELLS[0]], 1), multi_shell_table([SHELLS[0], SHELLS[0]], 1)
    assert np.array_equal(first.b_vectors, second.b_vectors)
    vectors = first.b_vectors[first.b_values > 0]
    assert smallest_angle_deg(vectors) > 0.1
