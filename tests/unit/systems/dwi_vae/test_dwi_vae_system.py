"""The diffusion VAE as a system: learning, resuming, predicting a session, and the validation table."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch

from scan2map.errors import SettingError
from scan2map.systems import load_system
from scan2map.systems.dwi_vae.evaluate import evaluate_members
from scan2map.systems.dwi_vae.measured import load_scan
from scan2map.systems.dwi_vae.own_scan import fit_own_scan
from scan2map.systems.dwi_vae.prediction import evidence_bound, predict_scan
from scan2map.systems.dwi_vae.session import predict_session, read_acquisition
from scan2map.systems.dwi_vae.training import VaeModule, tempered
from scan2map.training.acquisition import check_acquisition


def own(file, settings, model, folder, **training):
    return fit_own_scan(file, settings, {**model["training"], **training}, model["compute"], 1, folder)


def bare(settings):
    return {key: value for key, value in settings.items() if key != "evaluation"}


def squared_error(tissue, scan, names):
    chosen = torch.stack([scan.label == scan.names.index(name) for name in names]).any(0)
    return ((tissue.values - scan.truth.values)[chosen][:, 2] ** 2).mean().item()


def test_the_mixture_prior_beats_the_voxel_by_voxel_fit_where_noise_is_strong(
    vae_file, vae_settings, vae_model, tmp_path
):
    settings = bare(vae_settings(simulation={"source": "cluster", "snr": 4.0}, b_max_s_per_mm2=3500))
    network = own(vae_file, settings, vae_model, tmp_path, max_steps=300, checkpoint_every_steps=300)
    scan = load_scan(vae_file, settings)
    found = predict_scan([network], scan, 16)
    names = ("first", "second")
    assert squared_error(found.tissue, scan, names) < 0.8 * squared_error(scan.fit.tissue, scan, names)
    assert (found.low <= found.tissue.values).all()
    assert torch.isfinite(evidence_bound(network, scan, torch.arange(50), "rician", 2)).all()


def test_a_huge_misfit_counts_by_its_logarithm():
    misfit = torch.tensor([-5.0, 99.0, 100.0 * np.e, 1e20], requires_grad=True)
    found = tempered(misfit)
    assert found.detach().numpy() == pytest.approx([-5, 99, 200, 100 * (1 + np.log(1e18))], rel=1e-5)
    (slope,) = torch.autograd.grad(found.sum(), misfit)
    assert slope.numpy() == pytest.approx([1, 1, 1 / np.e, 1e-18], rel=1e-4)


class Killed(BaseException):
    """What a test raises where a kill would strike."""


def test_an_interrupted_fit_goes_on_to_the_same_weights(vae_file, vae_settings, vae_model, tmp_path, monkeypatch):
    settings = bare(vae_settings(network={"spatial": True, "width": 8}))
    own(vae_file, settings, vae_model, tmp_path / "whole")
    losses, calls = VaeModule.losses, []

    def dies(module, batch):
        calls.append(1)
        if len(calls) > 25:
            raise Killed
        return losses(module, batch)

    monkeypatch.setattr(VaeModule, "losses", dies)
    with pytest.raises(Killed):
        own(vae_file, settings, vae_model, tmp_path / "broken")
    monkeypatch.setattr(VaeModule, "losses", losses)
    own(vae_file, settings, vae_model, tmp_path / "broken")
    files = [tmp_path / name / "seed-1" / "weights.safetensors" for name in ("whole", "broken")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("network", "loss", "model"),
    [
        ({"design": "published", "latent": 8, "width": 8}, {"noise": "squares", "kl_weight": 1e-3}, "msdki"),
        ({"design": "plain", "width": 8}, {"supervised": True}, "msdki"),
        ({"design": "plain", "width": 8}, {"noise": "squares"}, "ball_stick"),
        ({"spatial": True, "width": 8}, {}, "ball_stick"),
        ({"width": 8}, {"noise": "gaussian"}, "ball_stick"),
    ],
)
def test_every_design_learns_and_predicts(vae_file, vae_settings, vae_model, tmp_path, network, loss, model):
    settings = bare(vae_settings(network=network, loss=loss, model=model))
    member = own(vae_file, settings, vae_model, tmp_path, max_steps=4, checkpoint_every_steps=4)
    scan = load_scan(vae_file, settings)
    found = predict_scan([member], scan, 2)
    assert found.tissue.values.shape == scan.truth.values.shape
    assert torch.isfinite(found.tissue.values).all()
    assert found.tissue.direction.norm(dim=-1).numpy() == pytest.approx(1, abs=1e-4)


@pytest.fixture(scope="module")
def session_files(tmp_path_factory):
    """A preprocessed session of two shells, written as the rail writes it."""
    from scan2map.phantom.acquisition.gradients import multi_shell_table
    from scan2map.physics.noise import rician

    folder = tmp_path_factory.mktemp("session")
    shells = [{"b_value_s_per_mm2": b, "directions": 12} for b in (1000, 2000)]
    table = multi_shell_table(shells, 4)
    truth = -1.0 * table.b_values * 1e-3 + (table.b_values * 1e-3) ** 2 * 0.9 / 6
    clean = np.broadcast_to(800 * np.exp(truth), (6, 6, 4, len(truth)))
    nib.save(
        nib.Nifti1Image(rician(clean, 20, np.random.default_rng(0)), np.diag([2.0, 2, 2, 1])), folder / "dwi.nii.gz"
    )
    mask = np.zeros((6, 6, 4), np.float32)
    mask[1:5, 1:5, 1:3] = 1
    nib.save(nib.Nifti1Image(mask, np.diag([2.0, 2, 2, 1])), folder / "mask.nii.gz")
    np.savetxt(folder / "dwi.bval", table.b_values[None])
    np.savetxt(folder / "dwi.bvec", table.b_vectors.T)
    return {
        name: folder / file
        for name, file in (("dwi", "dwi.nii.gz"), ("bval", "dwi.bval"), ("bvec", "dwi.bvec"), ("mask", "mask.nii.gz"))
    }


def test_a_session_gets_every_map_from_its_own_scan(session_files, vae_settings, vae_model):
    system, settings = load_system("dwi_vae"), bare(vae_settings(network={"spatial": True, "width": 8}))
    config = {"training": vae_model["training"], "compute": vae_model["compute"], "seeds": [1, 2]}
    package = SimpleNamespace(settings=settings, config=config)
    check_acquisition(system.acquisition(settings), read_acquisition(session_files), "package")
    with torch.inference_mode():
        images = predict_session(package, session_files, "cpu")
    assert set(images) == {one.name for one in system.description.maps}
    inside = images["d"].data > 0
    assert inside.sum() == 32
    assert images["d"].data[inside].mean() == pytest.approx(1e-3, rel=0.1)
    assert images["k_ml"].data[inside].mean() == pytest.approx(0.9, abs=0.15)
    assert images["k_sd"].data[inside].min() > 0


def test_the_table_has_every_question(vae_file, vae_settings, vae_model, tmp_path):
    settings = vae_settings(network={"width": 8}, evaluation={"snr": [20], "samples": 4})
    network = own(vae_file, bare(settings), vae_model, tmp_path)
    training = (vae_model["training"], vae_model["compute"], [1])
    table = evaluate_members([network], [vae_file], settings, training)
    assert set(table["method"]) == {"nlls", "mle", "network", "own_scan"}
    assert set(table["condition"]) == {"head:snr=20", "compartments:snr=20"}
    wanted = {
        "D_mse",
        "K_bias",
        "K_variance",
        "D_coverage_90",
        "adjusted_rand_index",
        "evidence_bound",
    }
    assert wanted <= set(table["metric"])
    assert {"GM", "WM", "mixed", "tissue"} <= set(table["roi"])
    assert np.isfinite(table["value"]).all()
    one = table[(table.method == "mle") & (table.roi == "WM") & (table.condition == "head:snr=20")].set_index("metric")[
        "value"
    ]
    assert one["K_mse"] == pytest.approx(one["K_bias"] ** 2 + one["K_variance"], rel=1e-6)


@pytest.mark.parametrize("model", ["ball_stick", "msdki_water"])
def test_parameters_of_another_model_are_not_written_under_the_names_of_kurtosis(model):
    with pytest.raises(SettingError, match=model):
        predict_session(SimpleNamespace(settings={"model": model}), {}, "cpu")
