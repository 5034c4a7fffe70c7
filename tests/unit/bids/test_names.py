"""BIDS names in the entity order of the standard."""

import pytest

from scan2map.bids.names import bids_path


def test_entities_are_put_in_order():
    path = bids_path("perf", "xfm", ".mat", mode="image", sub="01", to="T1w", from_="asl", ses="02")
    assert path == "sub-01/ses-02/perf/sub-01_ses-02_from-asl_to-T1w_mode-image_xfm.mat"


def test_session_is_optional_and_wildcards_pass_through():
    assert bids_path("dwi", "dwimap", sub="{subject}", model="DTI", param="FA") == (
        "sub-{subject}/dwi/sub-{subject}_model-DTI_param-FA_dwimap.nii.gz"
    )


def test_unknown_entities_and_missing_subject_are_refused():
    with pytest.raises(ValueError, match="colour"):
        bids_path("dwi", "dwimap", sub="01", colour="red")
    with pytest.raises(ValueError, match="sub given: False"):
        bids_path("dwi", "dwimap", ses="01")
