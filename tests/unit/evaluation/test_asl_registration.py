"""The registration experiment: misplacements of given size, errors by hand, and a small head that is put back."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
import yaml

from scan2map import config
from scan2map.evaluation.asl_registration import (
    RegistrationTrial,
    displacement_errors,
    misplacement,
    trial_rows,
)
from scan2map.evaluation.dwi_simulation import SAME_PLACE
from scan2map.images import Image
from scan2map.phantom.acquisition.anat import mprage
from scan2map.phantom.acquisition.scan import Scanner
from scan2map.phantom.subject import build_subject
from scan2map.preprocess.asl.coregister import Anatomy

ENGINE = {"engine": "embedded", "fsl": {}}


def test_misplacement_has_the_size_that_was_asked_for():
    centre = np.array([3.0, -20, 15])
    matrix = misplacement(5, 7, centre, np.random.default_rng(1))
    moved = matrix[:3, :3] @ centre + matrix[:3, 3]
    assert np.linalg.norm(moved - centre) == pytest.approx(5)
    assert np.degrees(np.arccos((np.trace(matrix[:3, :3]) - 1) / 2)) == pytest.approx(7)
    other = misplacement(5, 7, centre, np.random.default_rng(2))
    assert not np.allclose(matrix, other)


def test_errors_by_hand():
    """3 mm along x and 6 mm along z on voxels of 4 x 4 x 6 mm turned by 90° about z: 3/4 and 6/6 of an edge."""
    turned = np.array([[0.0, -4, 0, 0], [4, 0, 0, 0], [0, 0, 6, 0], [0, 0, 0, 1]])
    found, true = np.eye(4), np.eye(4)
    found[:3, 3] = 3, 0, 6
    errors = displacement_errors(found, true, np.zeros((2, 3)), Image(np.zeros((2, 2, 2)), turned))
    assert errors["mm"] == pytest.approx([np.sqrt(45)] * 2)
    assert errors["voxel"] == pytest.approx([1.25] * 2)


@dataclass(frozen=True)
class KnownAnatomy(RegistrationTrial):
    """A trial with the true brain and tissues instead of those found in the T1w image (that takes a network)."""

    @cached_property
    def anatomy(self) -> Anatomy:
        scan = mprage(self.scanner)
        truth = {one.entities.get("label", one.suffix): Image(one.data, one.affine) for one in scan.images}
        series = scan.series[0]
        mask = truth["mask"].data > 0
        head, brain = (Image(series.data * where, series.affine) for where in (1, mask))
        return Anatomy(head, brain, Image(mask, series.affine), {name: truth[name] for name in ("CSF", "GM", "WM")})


def test_a_misplaced_head_is_put_back(root):
    thumbnail = yaml.safe_load((root / "config" / "phantom" / "thumbnail.yaml").read_text())
    checked = config.check_config({"input": {"kind": "phantom"}} | thumbnail)
    protocol = checked["phantom"] | {"motion": checked["phantom"]["motion"] | SAME_PLACE}
    protocol["asl"] = protocol["asl"] | {"voxel_size_mm": [5, 5, 6]}
    subject = build_subject("01", checked["phantom_subject"], 1)
    trial = KnownAnatomy(Scanner(subject, np.eye(4), protocol, 1), checked["anat"])
    settings = {"shift_mm": 5.0, "turn_deg": 5.0, "placements": 1}
    rows = {(row.metric, row.statistic): row.value for row in trial_rows(trial, settings, ENGINE, 1, beside=None)}
    before, after = (rows[f"m0_registration_{stage}", "mean_displacement_mm"] for stage in ("before", "after"))
    assert 4.5 < before < 8
    assert after < 1.5
    assert rows["m0_registration_after", "worst_placement_voxel"] < 0.35
