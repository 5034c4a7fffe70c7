"""CT and MRI of a thumbnail study, from DICOM to the fused image on the session's page."""

import csv
import json

import numpy as np
import pytest
from clone import Clone, clone

from scan2map.evaluation.fusion_scores import psnr_inside, ssim_inside
from scan2map.images import load_image

STUDY = {
    "study": {"title": "Fusion"},
    "input": {"kind": "phantom"},
    "phantom_subject": {"lesion": {"probability": 1}},
    # The package that ships asks for slices as thick as those that it learned from.
    "phantom": {
        "modalities": ["anat", "ctmr"],
        "ctmr": {"voxel_size_mm": [4, 4, 5], "ct": {"voxel_size_mm": [4, 4, 5]}},
    },
    "learning": {"systems": ["ctmr_fusion"]},
}
DERIVATIVES = "results/derivatives/{}/sub-01/ses-01/ctmr/sub-01_ses-01_{}.nii.gz"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(root, tmp_path_factory) -> Clone:
    copy = clone(root, tmp_path_factory.mktemp("fusion"))
    copy.configure(**STUDY)
    copy.participants([("01", "01", "n/a")])
    finished = copy.snakemake("--", "predict_all", "results/report/index.html")
    assert finished.returncode == 0, finished.stdout[-6000:]
    return copy


def image(study: Clone, name: str, step: str = "ctmr_fusion") -> np.ndarray:
    return load_image(study / DERIVATIVES.format(step, name)).data


def test_the_fused_image_is_mri_in_the_brain_and_ct_in_bone(study):
    fused, mri, ct = (image(study, name) for name in ("desc-network_fusion", "desc-input_mri", "desc-input_ct"))
    brain, bone = (image(study, f"desc-{name}_mask", "scan2map") > 0 for name in ("brain", "bone"))
    assert ssim_inside(fused, mri, brain & ~bone) > 0.1 + ssim_inside((mri + ct) / 2, mri, brain & ~bone)
    assert psnr_inside(fused, ct, bone) > 5 + psnr_inside((mri + ct) / 2, ct, bone)


def test_the_session_runs_and_its_maps_name_their_package(study):
    with (study / "results/inventory.tsv").open(newline="") as handle:
        states = {row["modality"]: row["status"] for row in csv.DictReader(handle, delimiter="\t")}
    assert states["ctmr"] == "runs"
    sidecar = study / DERIVATIVES.format("ctmr_fusion", "label-lesion_desc-network_probseg").replace(".nii.gz", ".json")
    assert json.loads(sidecar.read_text())["Model"]["Package"].startswith("ctmr_fusion/spatial@")


def test_the_page_shows_the_images_and_says_what_they_are_not_for(study):
    page = (study / "results/report/sub-01_ses-01.html").read_text()
    section = page[page.index('id="ctmr_fusion"') :]
    assert "not for diagnosis" in section
    for words in ("MRI", "CT", "Uncertainty", "Conventional"):
        assert words in section
