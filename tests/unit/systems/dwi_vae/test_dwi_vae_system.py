"""The diffusion VAE as a system: learning, resuming, predicting a session, and the validation table."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch

from scan2map.errors import DataError, SettingError
from scan2map.physics.noise import rician
from scan2map.systems import load_system
from scan2map.systems.dwi_vae.deconvolution import deconvolve
from scan2map.systems.dwi_vae.evaluate import Subject, evaluate_members, oracle_mixture
from scan2map.systems.dwi_vae.measured import load_scan
from scan2map.systems.dwi_vae.own_scan import fit_own_scan
from scan2map.systems.dwi_vae.prediction import evidence_bound, interval, predict_scan
from scan2map.systems.dwi_vae.session import chosen_settings, predict_session, read_acquisition
from scan2map.systems.dwi_vae.training import VaeModule, load_scans, tempered
from scan2map.systems.dwi_vae.voxels import acquisition_of
from scan2map.training.acquisition import check_acquisition


def packaged(model):
    """What a package keeps of the block ``compute``."""
    return {key: model["compute"][key] for key in ("device", "precision", "devices", "nodes")}


def own(file, settings, model, folder, **training):
    return fit_own_scan(file, settings, {**model["training"], **training}, packaged(model), 1, folder)


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
    config = {"training": vae_model["training"], "compute": packaged(vae_model), "seeds": [1, 2]}
    package = SimpleNamespace(settings=settings, config=config)
    check_acquisition(system.acquisition(settings), read_acquisition(session_files), "package")
    with torch.inference_mode():
        images = predict_session(package, session_files, "cpu")
    assert set(images) == {one.name for one in system.description.maps if one.entities["model"] == "MSDKI"}
    inside = images["d"].data > 0
    assert inside.sum() == 32
    assert images["d"].data[inside].mean() == pytest.approx(1e-3, rel=0.1)
    assert images["k_ml"].data[inside].mean() == pytest.approx(0.9, abs=0.15)
    assert images["k_sd"].data[inside].min() > 0


def test_the_table_has_every_question(vae_file, vae_settings, vae_model, tmp_path):
    asked = {"snr": [20], "own_scan_snr": [20], "samples": 4, "mismatch": True, "detail": True}
    settings = vae_settings(network={"width": 8}, evaluation=asked)
    network = own(vae_file, bare(settings), vae_model, tmp_path)
    training = (vae_model["training"], packaged(vae_model), [1, 2])
    table = evaluate_members(
        [network, network],
        [vae_file, vae_file],
        settings | {"evaluation": settings["evaluation"] | {"subjects": 1}},
        training,
    )
    assert set(table["method"]) == {"nlls", "mle", "dipy", "oracle", "network", "own_scan"}
    simulated = {"head:snr=20", "compartments:snr=20"}
    assert simulated < set(table["condition"])
    assert not table.duplicated(["method", "condition", "roi", "metric"]).any()
    spread = table[(table.metric == "D_mse_seed_sd") & (table.condition == "head:snr=20")].groupby("method")["value"]
    assert spread.max()["network"] == 0  # twice the same network
    assert spread.min()["own_scan"] > 0
    wanted = {
        "D_mse",
        "K_bias",
        "K_variance",
        "D_coverage_90",
        "D_recovery",
        "K_edge_width",
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
def test_parameters_of_another_model_are_not_written_under_the_names_of_kurtosis(vae_settings, model):
    table = acquisition_of([0, 1000, 2000], np.eye(3))
    with pytest.raises(SettingError, match=model):
        chosen_settings(vae_settings(model=model), table)


def test_a_single_shell_gets_the_maps_of_ball_and_stick_and_a_warning(session_files, vae_settings, vae_model, caplog):
    """One direction everywhere: stick fraction and diffusivity of a known signal come back."""
    files = dict(session_files)
    folder = files["dwi"].parent / "single"
    folder.mkdir(exist_ok=True)
    b_values, vectors = np.loadtxt(files["bval"]), np.loadtxt(files["bvec"])
    kept = b_values != 2000
    clean = 0.5 * np.exp(-b_values * 1e-3) + 0.5 * np.exp(-b_values * 1e-3 * vectors[2] ** 2)
    data = rician(np.broadcast_to(900 * clean, (6, 6, 4, len(clean))), 15, np.random.default_rng(1))
    nib.save(nib.Nifti1Image(data[..., kept], np.diag([2.0, 2, 2, 1])), folder / "dwi.nii.gz")
    np.savetxt(folder / "dwi.bval", b_values[None, kept])
    np.savetxt(folder / "dwi.bvec", vectors[:, kept])
    files |= {
        name: folder / f"dwi.{ending}" for name, ending in (("dwi", "nii.gz"), ("bval", "bval"), ("bvec", "bvec"))
    }
    settings = bare(vae_settings(network={"spatial": True, "width": 8}))
    config = {"training": vae_model["training"], "compute": packaged(vae_model), "seeds": [1]}
    package = SimpleNamespace(settings=settings, config=config)
    check_acquisition(load_system("dwi_vae").acquisition(settings), read_acquisition(files), "package")
    with caplog.at_level("WARNING", "scan2map"):
        images = predict_session(package, files, "cpu")
    assert "A single shell does not determine msdki" in caplog.text
    assert set(images) == {"f", "f_ml", "f_sd", "d_stick", "d_stick_ml", "d_stick_sd"}
    inside = images["d_stick"].data > 0
    assert images["f"].data[inside].mean() == pytest.approx(0.5, abs=0.06)
    assert images["d_stick_ml"].data[inside].mean() == pytest.approx(1e-3, rel=0.1)
    with pytest.raises(DataError, match="not determined"):
        predict_session(
            SimpleNamespace(settings=settings | {"single_shell_model": "none"}, config=config), files, "cpu"
        )


def test_samples_cover_what_their_interval_promises():
    """Exchangeable draws: the interval of 39 of them holds the next one nine times out of ten."""
    drawn = torch.randn(40, 40_000, 1, generator=torch.Generator().manual_seed(4))
    low, high = interval(drawn[:39])
    share = ((low <= drawn[39]) & (drawn[39] <= high)).double().mean().item()
    assert share == pytest.approx(0.9, abs=0.006)


def test_the_oracle_mixture_finds_the_clusters(vae_file, vae_settings):
    """Three clusters far apart, known without noise: nothing is left to confuse."""
    scan = load_scan(vae_file, vae_settings(simulation={"source": "cluster"}, b_max_s_per_mm2=3500))
    assert oracle_mixture(Subject("L01", scan, "cluster:snr=20"), 3)["value"] == pytest.approx(1, abs=0.01)
    assert oracle_mixture(Subject("L01", scan, "cluster:snr=20"), 1)["value"] == 0


def test_deconvolution_finds_the_mixture_behind_noisy_estimates():
    rng = torch.Generator().manual_seed(7)
    component = (torch.rand(4000, generator=rng) < 0.3).long()
    centres, spread = torch.tensor([[-1.0, 0.5], [1.5, -0.5]]), torch.tensor([[0.2, 0.3], [0.3, 0.1]])
    true = centres[component] + spread[component] * torch.randn(4000, 2, generator=rng)
    errors = torch.diag_embed((0.1 + 0.8 * torch.rand(4000, 2, generator=rng)) ** 2)
    noisy = true + (errors.sqrt() @ torch.randn(4000, 2, 1, generator=rng))[..., 0]
    found = deconvolve(noisy.double(), errors.double(), 2)
    assert np.array(found["centres"]) == pytest.approx(centres.numpy(), abs=0.06)
    assert np.exp(0.5 * np.array(found["log_variances"])) == pytest.approx(spread.numpy(), abs=0.06)
    assert np.exp(found["logits"]) == pytest.approx([0.7, 0.3], abs=0.03)


def test_training_heads_are_scanned_at_each_noise_level_in_turn(vae_file, vae_settings):
    settings = vae_settings(simulation={"training_snr": [5, 40]})
    sigma = [scan.voxels.sigma.median().item() for scan in load_scans([vae_file] * 3, settings)]
    assert sigma[0] == sigma[2]
    assert sigma[0] / sigma[1] == pytest.approx(8, rel=0.05)
