import nibabel as nib
import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.images import Image
from scan2map.preprocess.dwi.mask import brain_mask, deepbet_mask, otsu_mask

AFFINE = np.diag([-4.0, 4, 4, 1])
SHAPE = (50, 56, 40)


def ball(radius_mm=65.0):
    centred = np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2
    return np.linalg.norm(centred * 4.0, axis=0) < radius_mm


def test_the_largest_piece_is_kept_and_its_holes_filled():
    found = ball()
    found[25, 28, 20] = False
    found[1, 1, 1] = True
    np.testing.assert_array_equal(brain_mask(Image(found * 1.0, AFFINE), lambda image: found), ball())


@pytest.mark.parametrize("radius_mm", [0.0, 30.0, 95.0])
def test_masks_that_are_no_brain_are_refused(radius_mm):
    with pytest.raises(DataError, match="ml"):
        brain_mask(Image(np.ones(SHAPE), AFFINE), lambda image: ball(radius_mm))


def test_a_bright_ball_is_found_by_its_threshold():
    rng = np.random.default_rng(0)
    image = Image((800 * ball() + rng.rayleigh(30, SHAPE)).astype(np.float32), AFFINE)
    found, truth = brain_mask(image, otsu_mask), ball()
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.93


@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPI", "PIR"])
def test_the_network_mask_comes_back_in_the_voxel_order_of_the_image(monkeypatch, codes):
    """The network thinks in RAS+; here it finds the bright left upper front corner."""

    def bright(self, nifti):
        ras = nib.as_closest_canonical(nifti)
        return None, nib.Nifti1Image((ras.get_fdata() > 0.5).astype(np.uint8), ras.affine), None

    monkeypatch.setattr("deepbet.bet.BrainExtraction.__init__", lambda self, **options: None)
    monkeypatch.setattr("deepbet.bet.BrainExtraction.run", bright)
    corner = np.zeros((12, 14, 16), np.float32)
    corner[:5, 8:, 9:] = 1
    to_codes = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes)
    )
    stored = nib.Nifti1Image(corner, np.diag([2.0, 2, 2, 1])).as_reoriented(to_codes)
    found = deepbet_mask(Image(np.asarray(stored.dataobj), stored.affine))
    data = np.asarray(stored.dataobj) > 0
    assert found[data].all()
    assert found.sum() < 2.5 * data.sum()  # one voxel of dilation


def test_no_brain_is_said(monkeypatch):
    def nothing(self, nifti):
        raise AssertionError("Not enough foreground")

    monkeypatch.setattr("deepbet.bet.BrainExtraction.__init__", lambda self, **options: None)
    monkeypatch.setattr("deepbet.bet.BrainExtraction.run", nothing)
    with pytest.raises(DataError, match="No brain"):
        deepbet_mask(Image(np.zeros((8, 8, 8), np.float32), AFFINE))
