"""Which exported series is the scanner's perfusion-weighted image, and how alike it is to ours."""

from dataclasses import dataclass

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.evaluation.asl_scanner import agreement_rows, exported_difference, series_number
from scan2map.images import Image


@dataclass
class Exported:
    number: int
    image_type: list


SERIES = [
    Exported(11, ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]),
    Exported(12, ["DERIVED", "PRIMARY", "ASL", "SUBTRACTION"]),
    Exported(29, ["DERIVED", "PRIMARY", "ASL", "SUBTRACTION"]),
    Exported(27, ["DERIVED", "PRIMARY", "ASL", "PERFUSION_WEIGHTED"]),
    Exported(26, ["DERIVED", "PRIMARY", "ASL", "RCBF"]),
]


def test_the_first_difference_after_the_series_belongs_to_it():
    assert exported_difference(SERIES, 25).number == 27
    with pytest.raises(DataError, match="no perfusion-weighted image"):
        exported_difference(SERIES, 30)


def test_number_of_the_series_that_was_used():
    rows = [{"number": 24, "used": False, "suffix": "asl"}, {"number": 25, "used": True, "suffix": "asl"}]
    assert series_number({"series": rows}) == 25
    with pytest.raises(DataError, match="no ASL series"):
        series_number({"series": rows[:1]})


def test_agreement_whatever_the_other_grid():
    rng = np.random.default_rng(0)
    affine = np.diag([4.0, 4, 6, 1])
    ours = Image(rng.normal(size=(10, 10, 8)), affine)
    flipped = np.diag([-4.0, 4, 6, 1])
    flipped[0, 3] = 36
    theirs = Image(7 * ours.data[::-1], flipped)
    mask = np.zeros(ours.data.shape, bool)
    mask[1:9, 1:9, 1:7] = True
    rows = {row.roi: row for row in agreement_rows(ours, theirs, mask, 1)}
    assert rows["brain"].value == pytest.approx(1, abs=1e-4)
    assert (rows["brain"].n_voxels, rows["brain_interior"].n_voxels) == (384, 144)
