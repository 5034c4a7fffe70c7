"""The shared path at thumbnail size: trained, packaged, validated and applied, as the rules do it."""

import numpy as np
import pandas as pd
import pytest

from scan2map.evaluation.targets import load_model_targets
from scan2map.images import load_image, save_image
from scan2map.provenance import write_json
from scan2map.systems.ctmr_fusion import SYSTEM
from scan2map.training.dataset import save_subject
from scan2map.training.evaluate import evaluate_package
from scan2map.training.fit import fit_job
from scan2map.training.job import TrainingJob
from scan2map.training.package import load_package, write_package
from scan2map.training.predict import map_name, predict_maps
from scan2map.training.settings import load_model, variant_of

SMALL = {
    "settings": {
        "network": {"channels": [8, 16], "lesion_width": 4},
        "sampling": {"steps": 5, "ensemble": 2},
        "evaluation": {"slices": 8, "steps": [5]},
        "validation_scenes": 2,
    },
    "training": {"max_steps": 4, "checkpoint_every_steps": 2, "warmup_steps": 0, "batch_size": 1},
}


@pytest.fixture(scope="module")
def small_model():
    return variant_of("ctmr_fusion", load_model("ctmr_fusion", SMALL), "spatial")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, fusion_head, small_model):
    folder = tmp_path_factory.mktemp("fusion")
    data = [str(folder / f"sub-{label}.safetensors") for label in "ABC"]
    for path in data:
        arrays = {"fractions": fusion_head.fractions, "hounsfield": fusion_head.hounsfield}
        save_subject(path, arrays, voxel_size_mm=fusion_head.voxel_mm.tolist())
    names = {"weights": "weights.safetensors", "summary": "summary.json", "history": "history.tsv"}
    files = {key: str(folder / name) for key, name in names.items()}
    fit_job(
        TrainingJob(
            "ctmr_fusion", "spatial", "main", 1, small_model, (data[0],), (data[1],),
            checkpoints=str(folder / "checkpoints"), **files,
        )
    )  # fmt: skip
    split = {"train": ["A"], "validation": ["B"], "test": ["C"]}
    write_package([files["weights"]], [files["summary"]], split, folder / "package")
    return folder


def test_the_history_has_every_part(trained):
    history = pd.read_csv(trained / "history.tsv", sep="\t")
    parts = {"loss", "image", "lesion_fused", "lesion_stacked"}
    assert {f"{part}/{name}" for part in ("train", "validation") for name in parts} <= set(history.columns)
    assert "validation/brain_error" in history.columns
    assert history["step"].tolist() == [2, 4]


def test_the_package_carries_its_calibration(trained):
    package = load_package(trained / "package")
    network = package.members[0]
    assert float(network.half_width_90.max()) > 0


def test_the_protocol_answers_every_target_of_the_shipped_design(trained, small_model):
    out = trained / "evaluation.tsv"
    compute = small_model["compute"]
    evaluate_package(
        trained / "package", [trained / "sub-C.safetensors"], out, variant="spatial", settings=small_model["settings"],
        compute=compute,
    )  # fmt: skip
    table = pd.read_csv(out, sep="\t").fillna({"condition": ""})
    keys = set(zip(table["method"], table["condition"], table["roi"], table["metric"], strict=True))
    targets = load_model_targets("workflow/report/targets/ctmr_fusion.yaml", "spatial")
    others = ("steps", "1 ", "10 ", "below")
    asked = {
        tuple(str(target[key]) for key in ("method", "condition", "roi", "metric"))
        for target in targets
        # Strata and times belong to other heads than the first.
        if target["variant"] == "spatial" and not target["condition"].startswith(others)
    }
    assert not asked - keys


def test_a_session_gets_its_maps(trained, fusion_scene, tmp_path):
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    inputs = {name: tmp_path / f"{name}.nii.gz" for name in ("ct", "mri", "brain", "bone")}
    for name, path in inputs.items():
        save_image(path, getattr(fusion_scene, name), affine)
    write_json(tmp_path / "mri.json", {"Contrast": "FLAIR"})
    compute = {"device": "cpu", "devices": 1, "nodes": 1, "threads": 1, "precision": "32-true", "strategy": "ddp"}
    predict_maps(
        "ctmr_fusion",
        trained / "package",
        inputs,
        tmp_path / "maps",
        subject="01",
        session="01",
        compute=compute,
        checkpoints=tmp_path / "checkpoints",
    )
    for wanted in SYSTEM.description.maps:
        image = load_image(tmp_path / "maps" / map_name(wanted, "01", "01"))
        assert image.data.shape == fusion_scene.mri.shape
