"""Diffusion experiments: scores against closed forms, arms against each other, wiring with a perfect chain."""

from functools import cache

import numpy as np
import pytest
import yaml

from scan2map.config import check_config
from scan2map.evaluation import dwi_inputs
from scan2map.evaluation.dwi_chain import Chain, Corrected, as_measured
from scan2map.evaluation.dwi_experiments import CONDITIONS, Experiment, Reference, run_dwi_experiment, simulated_head
from scan2map.evaluation.dwi_scores import (
    RMSE,
    WORST_AXIS_RMSE,
    direction_errors_deg,
    displacement_rows,
    holds_brain,
    motion_rows,
    outlier_rows,
    residual_motion,
    rigid_matrices,
)
from scan2map.evaluation.dwi_simulation import UNDISTURBED, b0_table
from scan2map.evaluation.long_table import read_table
from scan2map.evaluation.rail import load_targets
from scan2map.phantom.acquisition.motion import motion_parameters
from scan2map.preprocess.dwi.rigid import rigid_parameters
from scan2map.preprocess.dwi.tensor import TensorMaps

TINY = {
    "phantom_subject": {"voxel_size_mm": 6},
    "phantom": {
        "modalities": ["dwi"],
        "dwi": {
            "voxel_size_mm": [9, 9, 9],
            "field_of_view_mm": [198, 216, 144],
            "shells": [{"b_value_s_per_mm2": 1000, "directions": 12}],
            "b0_volumes": 3,
        },
    },
    "dwi": {"mask": {"method": "median_otsu"}},
    "fieldmap": {"iterations": 1, "solver_iterations": 5},
}


@cache
def config(*, noise: bool = True) -> dict:
    phantom = TINY["phantom"] | {"noise": {"enabled": noise}}
    return check_config(TINY | {"phantom": phantom})


def settings(**changes):
    return config()["validation"]["dwi_experiments"] | {"tissue_threshold": 0.6} | changes


@cache
def tiny_head(*, noise: bool = True):
    blocks = config(noise=noise)
    return simulated_head("01", "1", blocks["phantom_subject"], blocks["phantom"], settings(), seed=3)


def values(rows):
    return {(row.metric, row.statistic): row.value for row in rows}


def test_rows_of_the_motion_table_are_translation_and_rx_ry_rz_about_the_centre():
    centre = np.array([10.0, -5.0, 3.0])
    matrix = rigid_matrices(np.array([[1.0, 2.0, 3.0, 0, 0, np.pi / 2]]), centre)[0]
    assert matrix @ [*centre, 1] == pytest.approx([11, -3, 6, 1])
    assert matrix @ [11.0, -5.0, 3.0, 1] == pytest.approx([11, -2, 6, 1])
    generator = np.random.default_rng(1)
    parameters = np.c_[generator.normal(0, 3, (5, 3)), generator.normal(0, 0.3, (5, 3))]
    written = [rigid_parameters(one, centre) for one in rigid_matrices(parameters, centre)]
    assert np.array(written) == pytest.approx(parameters)


def test_residual_motion_is_what_the_estimate_leaves():
    centre = np.array([0.0, 20.0, 0.0])
    true = rigid_matrices(np.array([[0.0, 0, 0, 0, 0, 0.05], [2.0, 0, 0, 0, 0, 0]]), centre)
    estimate = rigid_matrices(np.array([[0.3, 0, 0.4, 0, 0, 0.05], [2.0, 0, 0, np.radians(3), 0, 0]]), centre)
    shift, angle = residual_motion(estimate, true, centre)
    turned_back = np.array([0.3 * np.cos(0.05), -0.3 * np.sin(0.05), 0.4])
    assert shift == pytest.approx(np.array([turned_back, [0, 0, 0]]), abs=1e-9)
    assert angle == pytest.approx(np.array([[0, 0, 0], [3, 0, 0]]), abs=1e-6)


def test_motion_error_leaves_the_reference_out_and_says_what_no_correction_is():
    parameters = np.zeros((3, 6))
    true = rigid_matrices(np.array([[0.0] * 6, [3.0, 4, 0, 0, 0, 0], [0, 0, 0, 0, np.radians(2), 0]]), np.zeros(3))
    found = values(motion_rows(parameters, true, np.zeros(3)))
    assert found["translation", RMSE] == pytest.approx(5 / np.sqrt(2)) == found["translation_uncorrected", RMSE]
    assert found["translation", WORST_AXIS_RMSE] == pytest.approx(4 / np.sqrt(2))
    assert found["rotation", "max"] == pytest.approx(2)


def test_displacement_errors():
    true = np.linspace(-4, 2, 60).reshape(3, 4, 5)
    wave = np.where(np.arange(60) % 2, 0.2, -0.2).reshape(3, 4, 5)
    found = values(displacement_rows(true + 0.1 + wave, true, np.ones((3, 4, 5), bool), "rest"))
    assert found["displacement_rest", RMSE] == pytest.approx(np.hypot(0.1, 0.2))
    assert found["displacement_rest", "bias"] == pytest.approx(0.1)
    assert found["displacement_shape_rest", RMSE] == pytest.approx(0.2)
    assert found["displacement_uncorrected_rest", "max"] == 4


def test_direction_errors_are_axial_angles_where_there_is_a_direction():
    tensor = np.zeros((2, 1, 1, 6))
    tensor[..., 0], tensor[..., 3], tensor[..., 5] = 1.5e-3, 0.3e-3, 0.3e-3  # along x
    turned = -np.array([np.cos(0.2), np.sin(0.2), 0.0])
    maps = TensorMaps(tensor, tensor[..., 0], tensor[..., :3], np.tile(turned, (2, 1, 1, 1)))
    errors = direction_errors_deg(maps, tensor, np.array([0.7, 0.1]).reshape(2, 1, 1), np.ones((2, 1, 1), bool))
    assert errors == pytest.approx([np.degrees(0.2)])


def test_outlier_scores():
    lost, found = np.zeros((4, 3), bool), np.zeros((4, 3), bool)
    lost[0, 0] = lost[1, 1] = lost[2, 2] = True
    found[0, 0] = found[3, 1] = True
    scores = values(outlier_rows(found, lost, np.array([True, True, False])))
    assert scores["outlier_slices", "sensitivity"] == 0.5
    assert scores["outlier_slices", "precision"] == 0.5


def test_slices_that_hold_brain():
    brain = np.zeros((20, 20, 3), bool)
    brain[:10, :10, 1] = True
    brain[:2, :2, 2] = True
    assert holds_brain(brain, np.array([4.0, 3.0, 3.0])).tolist() == [False, True, False]


def test_excursions_are_as_large_as_asked():
    head = tiny_head()
    scan = head.with_excursion(3, 2).scan()
    centre = head.scanner.brain_centre_mm
    walk = np.array([motion_parameters(matrix, centre) for matrix in scan.motion])
    assert walk[0] == pytest.approx(np.zeros(6))
    # Parameters refer to the place of the first volume, where the head lies turned by half a degree.
    assert np.abs(walk[:, :3]).max() == pytest.approx(3, rel=0.02)
    assert np.degrees(np.abs(walk[:, 3:]).max()) == pytest.approx(2, rel=0.05)


def test_arms_differ_by_their_disturbances_alone():
    head = tiny_head()
    still = head.with_changes(UNDISTURBED)
    assert np.array_equal(still.scan().main.data, still.scan().main.data)
    assert still.scan().motion == pytest.approx(np.tile(np.eye(4), (15, 1, 1)))
    assert still.scan().place == pytest.approx(head.scan().place)
    assert not np.array_equal(still.scan().main.data, head.scan().main.data)


def test_the_largest_shift_is_the_one_asked_for():
    head = tiny_head()
    scan = head.scan(b0_table(1), reversed_b0=1)
    field, brain = head.field_truth(scan.place)
    largest = np.abs(field[brain]).max() * scan.main.total_readout_time_s
    assert 2 < largest <= 4


def test_an_undisturbed_scan_without_noise_has_the_true_tensor():
    experiment = Experiment(tiny_head(noise=False), PerfectChain(), settings(), 0.6)
    ideal = experiment.head.with_changes(UNDISTURBED).scan()
    reference = Reference(experiment, ideal.place)
    assert reference.fa_error(as_measured(ideal)) < 0.01
    assert reference.direction_error_deg(as_measured(ideal)) < 1
    assert reference.fa_error(as_measured(tiny_head().with_changes(UNDISTURBED).scan())) > 0.02


class PerfectChain(Chain):
    """Knows the truth: field, motion, lost slices; its corrected series is the undisturbed scan."""

    def __init__(self, head=None):
        super().__init__(".", config())
        self.head = head

    def prepare(self, scan):
        self.scan = scan
        return as_measured(scan)

    def prepare_b0(self, scan):
        self.scan = scan

    def estimate_field(self):
        return self.head.field_truth(self.scan.place)[0]

    def find_brain(self):
        pass

    def correct(self, name, **motion):
        series = as_measured(self.head.with_changes(UNDISTURBED).scan())
        centre = self.head.sampler.grid.centre_mm
        parameters = np.array([rigid_parameters(matrix, centre) for matrix in self.scan.motion])
        return Corrected(series, parameters, self.scan.lost)


@cache
def perfect_rows(condition):
    experiment = Experiment(tiny_head(), PerfectChain(tiny_head()), settings(dropout_probability=0.1), 0.6)
    return list(CONDITIONS[condition](experiment))


def test_a_perfect_chain_has_no_error():
    found = values(perfect_rows("susceptibility"))
    assert found["displacement_rest", RMSE] == found["displacement_moved", RMSE] == 0
    assert found["displacement_uncorrected_rest", RMSE] > 0.1
    found = values(perfect_rows("motion"))
    assert found["translation", RMSE] == pytest.approx(0, abs=1e-6)
    assert found["rotation", RMSE] == pytest.approx(0, abs=1e-4)
    assert found["FA_corrected", "ratio_to_ideal"] == pytest.approx(1)
    assert found["FA_corrected", "ratio_to_uncorrected"] < 1
    found = values(perfect_rows("outliers"))
    assert found["outlier_slices", "sensitivity"] == found["outlier_slices", "precision"] == 1


def test_every_simulated_figure_of_the_targets_is_measured(root):
    measured = {
        (row.roi, f"{condition}:{row.metric}", row.statistic)
        for condition in CONDITIONS
        for row in perfect_rows(condition)
    }
    targets = load_targets(root / "workflow/report/targets/dwi.yaml", ["phantom"])
    assert {(one["roi"], one["metric"], one["statistic"]) for one in targets} <= measured


def test_the_rules_know_every_condition():
    assert tuple(CONDITIONS) == dwi_inputs.CONDITIONS


def test_the_rails_own_steps_write_the_table(tmp_path):
    blocks = config()
    out = tmp_path / "table.tsv"
    run_dwi_experiment(
        out,
        subject="01",
        session="1",
        condition="susceptibility",
        head=blocks["phantom_subject"],
        protocol=blocks["phantom"],
        steps={name: blocks[name] for name in ("dwi", "fieldmap", "fsl")},
        settings=settings(max_shift_voxels=1.5),
        seed=3,
    )
    table = read_table(out).set_index(["metric", "statistic"])["value"]
    left = table["susceptibility:displacement_rest", RMSE]
    assert 0 < left < table["susceptibility:displacement_uncorrected_rest", RMSE]


def test_the_overlay_is_valid(root):
    raw = yaml.safe_load((root / "config/validation/dwi.yaml").read_text())
    assert check_config(raw)["validation"]["dwi_experiments"]["b0_snr"] == 20
