"""Packages: a round trip loses nothing, damage and strangers are refused."""

import json
import shutil

import numpy as np
import pytest
import toy_study

from scan2map.errors import DataError, SettingError
from scan2map.images import load_image, save_image
from scan2map.logs import LOGGER
from scan2map.systems import load_system
from scan2map.training.card import write_card_page
from scan2map.training.evaluate import evaluate_package
from scan2map.training.fit import fit_job
from scan2map.training.package import load_package, publish_package, verify, write_package
from scan2map.training.predict import _require_companions, predict_maps, present_maps

PARTS = {"train": ["A", "B"], "validation": ["C"], "test": ["D"]}
METRICS = "id\tdescription\tvalue\tci_low\tci_high\ttarget\tmet\tcommit\na\tSlope <b>\t0.1\t\t\t<= 1\tyes\tabc\n"


@pytest.fixture(scope="module")
def shelf(toy_folder, tmp_path_factory):
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture
def package(toy, shelf):
    """A package of two members, trained once."""
    folder = shelf / "package"
    if not folder.is_dir():
        data = toy_study.dataset(shelf / "data")
        jobs = [toy_study.job(shelf / str(seed), data, toy_study.model(), seed) for seed in (1, 2)]
        for job in jobs:
            fit_job(job)
        write_package([job.weights for job in jobs], [job.summary for job in jobs], PARTS, folder)
    return folder


@pytest.fixture
def session(tmp_path):
    t1w = tmp_path / "sub-01_ses-01_desc-preproc_T1w.nii.gz"
    save_image(t1w, np.arange(1, 28).reshape(3, 3, 3), np.diag([2.0, 2, 2, 1]))
    return {"t1w": str(t1w)}


def predict(package, session, tmp_path, **changes):
    arguments = {"subject": "01", "session": "01", "compute": toy_study.model()["compute"]} | changes
    arguments |= {"checkpoints": tmp_path / "state"}
    predict_maps("toy", package, session, tmp_path / "maps", **arguments)
    return tmp_path / "maps" / "anat"


def test_every_weight_comes_back(package, shelf):
    from safetensors.torch import load_file

    loaded = load_package(package)
    assert len(loaded.members) == 2
    for seed, member in zip((1, 2), loaded.members, strict=True):
        trained = load_file(shelf / str(seed) / "weights.safetensors")
        assert all((value == trained[name]).all() for name, value in member.state_dict().items())
        assert not member.training


def test_prediction_needs_the_package_alone(package, session, tmp_path, shelf):
    moved = tmp_path / "elsewhere"
    shutil.copytree(package, moved)
    folder = predict(moved, session, tmp_path)
    slopes = [member.linear.weight.item() for member in load_package(package).members]
    expected = np.mean(slopes) / load_package(package).normalisation["sd"]
    double, plain = (load_image(folder / f"sub-01_ses-01_desc-{name}_map.nii.gz").data for name in ("double", "plain"))
    assert np.allclose(double, expected * plain)


def test_what_a_system_warns_of_stands_in_the_sidecars(package, session, tmp_path, monkeypatch):
    """The page shows a sidecar's ``Reason`` beside the figure."""
    system = load_system("toy")
    plain = system.predict

    def warns(*arguments, **more):
        LOGGER.warning("b beyond 3/(DK)")
        return plain(*arguments, **more)

    silent = predict(package, session, tmp_path) / "sub-01_ses-01_desc-double_map.json"
    assert "Reason" not in json.loads(silent.read_text())
    monkeypatch.setattr(type(system), "predict", staticmethod(warns))
    told = predict(package, session, tmp_path) / "sub-01_ses-01_desc-double_map.json"
    assert json.loads(told.read_text())["Reason"] == "b beyond 3/(DK)"


def test_same_trainings_same_bytes(package, shelf, tmp_path):
    files = [[shelf / str(seed) / name for seed in (1, 2)] for name in ("weights.safetensors", "summary.json")]
    write_package(*files, PARTS, tmp_path / "again")
    assert (tmp_path / "again/manifest.json").read_bytes() == (package / "manifest.json").read_bytes()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "card.md"])
def test_a_changed_file_is_refused(package, tmp_path, name):
    shutil.copytree(package, tmp_path / "p")
    content = bytearray((tmp_path / "p" / name).read_bytes())
    content[-3] ^= 1
    (tmp_path / "p" / name).write_bytes(content)
    with pytest.raises(SettingError, match=f"damaged.*{name}"):
        load_package(tmp_path / "p")


def test_missing_and_surplus_files_are_refused(package, tmp_path):
    shutil.copytree(package, tmp_path / "p")
    (tmp_path / "p" / "extra.pkl").write_bytes(b"\x80")
    with pytest.raises(SettingError, match=r"extra\.pkl"):
        verify(tmp_path / "p")
    with pytest.raises(SettingError, match="no model package"):
        load_package(tmp_path)


def test_another_acquisition_is_refused_by_name(package, session, tmp_path):
    save_image(session["t1w"], np.ones((3, 3, 3)), np.diag([30.0, 2, 2, 1]))
    with pytest.raises(DataError, match=r"voxel_size_mm = \[30, 2, 2\].*0.5 to 20 mm"):
        predict(package, session, tmp_path)
    assert not (tmp_path / "maps").exists()


def test_an_absent_gpu_stops_prediction(package, session, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(SettingError, match="torch finds no GPU"):
        predict(package, session, tmp_path, compute={**toy_study.model()["compute"], "device": "cuda"})


def test_subjects_that_were_learnt_from_are_no_test(package, shelf, tmp_path):
    arguments = {"variant": "x", "settings": {"evaluation": {"scale": 1}}, "compute": toy_study.model()["compute"]}
    with pytest.raises(DataError, match=r"has seen subjects.*A"):
        evaluate_package(package, [shelf / "data/sub-A.safetensors"], tmp_path / "t.tsv", **arguments)
    evaluate_package(package, [shelf / "data/sub-D.safetensors"], tmp_path / "t.tsv", **arguments)
    assert (tmp_path / "t.tsv").read_text().splitlines()[1].startswith("D\tx\tnetwork")


def test_members_of_different_data_make_no_package(package, shelf, tmp_path):
    summary = json.loads((shelf / "2/summary.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps(summary | {"data_sha256": "0"}))
    weights = [shelf / str(seed) / "weights.safetensors" for seed in (1, 2)]
    with pytest.raises(DataError, match="data_sha256"):
        write_package(weights, [shelf / "1/summary.json", tmp_path / "other.json"], PARTS, tmp_path / "p")


def test_a_published_package_shows_its_numbers_escaped(package, tmp_path):
    (tmp_path / "metrics.tsv").write_text(METRICS)
    publish_package(package, tmp_path / "metrics.tsv", tmp_path / "published")
    load_package(tmp_path / "published")
    write_card_page(tmp_path / "published", tmp_path / "card.html")
    page = (tmp_path / "card.html").read_text()
    assert "Slope &lt;b&gt;" in page
    assert "Nothing &lt;else&gt;." in page
    assert "trained on simulated data" in page
    assert "0.1" in (tmp_path / "published/card.md").read_text()


def test_a_prediction_without_its_companions_is_refused(toy):
    description = load_system("toy").description
    whole = {wanted.name: None for wanted in description.maps}
    _require_companions(description, whole)
    for lacking in (dict(list(whole.items())[:1]), {}):
        with pytest.raises(DataError, match="not those of the system"):
            _require_companions(description, lacking)


def test_a_session_without_any_map_is_an_error_not_an_empty_page(toy, tmp_path):
    with pytest.raises(DataError, match="no map"):
        present_maps("toy", tmp_path, "01", "01")
