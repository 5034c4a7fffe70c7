"""Windows against the whole volume; a whole session in its own axes; the validation's rows."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from scan2map.images import Image, load_image, save_image
from scan2map.physics.diffusion import principal_direction, rotate_tensor, tensor_scalars
from scan2map.preprocess.registration import Transform, save_transform
from scan2map.systems import load_system
from scan2map.systems.bssfp_dti import evaluate, session
from scan2map.systems.bssfp_dti.inference import in_windows, whole_volume
from scan2map.systems.bssfp_dti.prediction import Translator
from scan2map.training.dataset import save_subject


class LocalNetwork(torch.nn.Module):
    """A network that halves its image once: it looks 6 voxels far, and it cares where a window begins."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.before, self.after = torch.nn.Conv3d(24, 6, 3, padding=1), torch.nn.Conv3d(6, 6, 3, padding=1)

    def forward(self, image):
        coarse = torch.nn.functional.max_pool3d(self.before(image), 2)
        return torch.nn.functional.interpolate(self.after(coarse), scale_factor=2)


def test_windows_give_what_the_whole_volume_gives_away_from_the_border():
    image = torch.rand(1, 24, 60, 41, 50)
    network = LocalNetwork().eval()
    with torch.inference_mode():
        whole, windows = whole_volume(network, image), in_windows(network, image, 32, 16)
    assert windows.shape == whole.shape
    assert torch.allclose(in_windows(lambda one: one[:, :6].clone(), image, 32, 16), image[:, :6], atol=1e-5)
    # Voxels that lie further from the edge of every window that holds them than the network looks are exact ...
    first, second = slice(8, 10), slice(22, 26)
    for inner in ((..., first, first, first), (..., second, second, second), (..., second, first, second)):
        assert torch.allclose(windows[inner], whole[inner], atol=1e-5)
    # ... the others are close, as a window's edge counts little.
    error = (windows - whole)[..., 8:-10, 8:-10, 8:-10].abs()
    assert error.quantile(0.99) < 0.2 * whole.std()


def test_one_window_is_the_whole_volume(settings):
    network = load_system("bssfp_dti").network(settings(), {}).eval()
    image = torch.rand(1, 24, 30, 32, 26)
    with torch.inference_mode():
        found = in_windows(lambda one: network(one, "pc_bssfp"), image, 32, 16)
        assert torch.allclose(found, whole_volume(lambda one: network(one, "pc_bssfp"), image), atol=1e-5)


class Package:
    """What prediction and validation use of a package."""

    def __init__(self, settings, constants, members):
        self.settings, self.normalisation, self.members, self.name = settings, constants, members, "test"


class Mean(torch.nn.Module):
    """Says the same tensor representation everywhere."""

    prior = None

    def __init__(self, values):
        super().__init__()
        self.values = torch.tensor(values).view(1, 6, 1, 1, 1)

    def forward(self, image, modality):
        return self.values.expand(len(image), -1, *image.shape[2:]).clone()


@pytest.fixture
def package(settings, constants):
    return Package(settings(), constants, (Mean([0.9, 0.6, 0.5, 0.5, 0.5, 0.4]), Mean([0.8, 0.6, 0.5, 0.5, 0.5, 0.4])))


AFFINES = {
    "RAS": np.diag([3.0, 3, 3, 1]),
    "LAS": np.diag([-3.0, 3, 3, 1]),
    "turned": np.array([[0, -3.0, 0, 20], [3.0, 0, 0, -10], [0, 0, 3.0, 0], [0, 0, 0, 1]]),
    "oblique": nib.affines.from_matvec(3 * np.array([[1, 0, 0], [0, 0.9553365, -0.29552], [0, 0.29552, 0.9553365]])),
}


def files(folder, arrays, affine):
    """A session's files whose axes are those of the affine; the canonical arrays are what the network must see."""
    back = nib.orientations.ornt_transform(session.CANONICAL, nib.io_orientation(affine))
    shape = nib.orientations.apply_orientation(arrays["mask"], back).shape
    canonical = affine @ nib.orientations.inv_ornt_aff(nib.io_orientation(affine), shape)
    rotation = canonical[:3, :3] / 3
    signal = arrays["bssfp"][0].astype(np.float32)
    images = {
        "magnitude": np.moveaxis(np.hypot(signal[0::2], signal[1::2]), 0, -1),
        "phase": np.moveaxis(np.arctan2(signal[1::2], signal[0::2]), 0, -1),
        "t1w": arrays["t1w"],
        "mask": arrays["mask"],
        "tensor": 1e-3 * rotate_tensor(np.moveaxis(arrays["truth"].astype(float), 0, -1), rotation),
    }
    paths = {}
    for name, values in images.items():
        paths[name] = folder / f"{name}.nii.gz"
        save_image(paths[name], nib.orientations.apply_orientation(values, back), affine)
    # The diffusion scan lies 4 mm behind the T1w image, the template 7 mm above it.
    shifts = {"dwi_to_t1w": [0, 4, 0], "template": [0, 0, 7]}
    for name, shift in shifts.items():
        paths[name] = folder / f"{name}.mat"
        save_transform(paths[name], Transform(nib.affines.from_matvec(np.eye(3), shift)))
    return paths, canonical


@pytest.mark.parametrize("axes", AFFINES)
def test_a_session_reaches_the_network_in_one_orientation(arrays, tmp_path, axes):
    paths, canonical = files(tmp_path, arrays, AFFINES[axes])
    found = session.Axes(load_image(paths["mask"]))
    seen = session.load_arrays(paths, found)
    assert found.affine == pytest.approx(canonical)
    assert seen["mask"].tolist() == (arrays["mask"] > 0).tolist()
    assert seen["bssfp"][0] == pytest.approx(arrays["bssfp"][0].astype(np.float32), abs=2e-3)
    assert seen["tensor"][0] == pytest.approx(arrays["truth"], abs=1e-4)
    shifted = (canonical @ [1, 2, 3, 1])[:3] + np.array([0, -4, 7])
    assert seen["registered_mm"][:, 1, 2, 3] == pytest.approx(shifted, abs=1e-3)
    assert found.restored(found.turned(load_image(paths["t1w"]).data)[0]) == pytest.approx(
        load_image(paths["t1w"]).data
    )


def mask_of(paths):
    return load_image(paths["mask"]).data > 0


@pytest.mark.parametrize("axes", AFFINES)
def test_predicted_maps_are_in_world_axes_and_complete(arrays, tmp_path, package, axes):
    paths, canonical = files(tmp_path, arrays, AFFINES[axes])
    # The rule hands over the folder of the package beside the session's files.
    maps = load_system("bssfp_dti").predict(package, paths | {"package": tmp_path}, "cpu")
    assert set(maps) == {one.name for one in load_system("bssfp_dti").description.maps if not one.optional}
    assert maps["signal"].data[mask_of(paths)].mean() == pytest.approx(1, rel=1e-3)
    assert maps["colours"].data == pytest.approx(np.abs(maps["direction"].data) * maps["fa"].data[..., None])
    mask = load_image(paths["mask"]).data > 0
    world = maps["tensor"].data[mask]
    translator = Translator(package.members[0], package.settings, package.normalisation, "cpu")
    mean = torch.stack([one.values[0] for one in package.members]).mean(0)
    expected = rotate_tensor(translator.representation.decode(mean).flatten().double().numpy(), canonical[:3, :3] / 3)
    assert world == pytest.approx(np.broadcast_to(1e-3 * expected, world.shape), rel=1e-4, abs=1e-8)
    assert maps["fa"].data[mask] == pytest.approx(tensor_scalars(expected).fa, rel=1e-4)
    along = np.abs((maps["direction"].data[mask] * principal_direction(expected)).sum(-1))
    assert along == pytest.approx(1, abs=1e-4)
    assert maps["fa_sd"].data[mask].min() > 0
    assert not maps["tensor"].data[~mask].any()
    measured = load_image(paths["tensor"]).data[mask]
    assert maps["md_dwi"].data[mask] == pytest.approx(tensor_scalars(measured.astype(float)).md, rel=1e-3)


def test_the_acquisition_of_a_session_is_compared(arrays, tmp_path, settings):
    paths, _ = files(tmp_path, arrays, AFFINES["LAS"])
    sidecar = {
        "PhaseCycleIncrements_deg": [30 * index for index in range(12)], "RepetitionTime": 0.0048, "EchoTime": 0.0024,
        "FlipAngle": 15, "MagneticFieldStrength": 3,
    }  # fmt: skip
    (tmp_path / "magnitude.json").write_text(json.dumps(sidecar))
    from scan2map.errors import DataError
    from scan2map.training.acquisition import check_acquisition

    found = session.read_acquisition(paths)
    check_acquisition(session.demands(settings(data={"voxel_size_mm": 3.0})), found, "test")
    with pytest.raises(DataError, match="voxel_size_mm"):
        check_acquisition(session.demands(settings()), found, "test")
    (tmp_path / "magnitude.json").write_text(json.dumps(sidecar | {"RepetitionTime": 0.006}))
    with pytest.raises(DataError, match="repetition_time_s"):
        check_acquisition(
            session.demands(settings(data={"voxel_size_mm": 3.0})), session.read_acquisition(paths), "test"
        )


def test_the_validation_scores_every_member_the_ensemble_and_the_scan(arrays, tmp_path, package):
    path = tmp_path / "sub-T01.safetensors"
    save_subject(path, arrays)
    table = evaluate.evaluate_package(package, [path], package.settings, "cpu")
    assert set(table["method"]) == {
        "network", "seed_sd", "ensemble", "known_inclination", "scan", "retest", "signal",
    }  # fmt: skip
    assert {"brain", "CSF", "GM", "WM"} < set(table["roi"])
    assert {roi for roi in table["roi"] if roi.startswith("lobes:")}
    value = table.set_index(["method", "roi", "metric"])["value"]
    assert value["ensemble", "brain", "not_positive_share"] == 0
    assert value["ensemble", "brain", "not_scored_share"] == 0
    assert value["scan", "WM", "frobenius_error"] < value["network", "WM", "frobenius_error"]
    assert value["retest", "WM", "frobenius_error"] > value["scan", "WM", "frobenius_error"]
    assert value["ensemble", "brain", "frechet_own_features"] > 0
    assert (table["subject"] == "T01").all()
    settings = {"evaluation": {**package.settings["evaluation"], "reference": False}}
    alone = evaluate.evaluate_package(package, [path], settings, "cpu")
    assert set(alone["method"]) == {"network", "seed_sd", "ensemble", "known_inclination"}


def test_members_become_a_mean_and_a_spread():
    values = {"member 0": 1.0, "member 1": 3.0, "ensemble": 5.0}
    common = {"roi": "WM", "metric": "frobenius_error", "unit": "1", "n": 1}
    rows = pd.DataFrame([{"method": name, "value": value, **common} for name, value in values.items()])
    found = evaluate.summarised(rows).set_index("method")["value"]
    assert dict(found) == pytest.approx({"ensemble": 5.0, "network": 2.0, "seed_sd": 2**0.5})


def test_white_matter_is_told_apart_by_the_atlas_without_sides():
    axes = np.arange(-60, 61, 6), np.arange(-90, 61, 6), [20.0]
    points = np.stack(np.meshgrid(*axes, indexing="ij")).astype(float)
    found = evaluate.white_matter_regions(np.ones(points.shape[1:], bool), points)
    assert not any(name.endswith(("_L", "_R")) for name in found)
    frontal = found["lobes:frontal"]
    assert frontal[points[1] > 40].mean() > 0.9
    assert (frontal == frontal[::-1]).mean() > 0.95


def test_images_of_one_grid_are_demanded(arrays, tmp_path):
    from scan2map.errors import DataError

    paths, _ = files(tmp_path, arrays, AFFINES["RAS"])
    save_image(paths["t1w"], arrays["t1w"][:-1], AFFINES["RAS"])
    with pytest.raises(DataError, match="different grids"):
        session.load_arrays(paths, session.Axes(Image(arrays["mask"], AFFINES["RAS"])))
