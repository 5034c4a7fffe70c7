"""Channels and patches: interleaved, scaled, paired over sessions, turned with their tensors, functions of a number."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from scan2map.systems.bssfp_dti import channels, patches
from scan2map.systems.bssfp_dti.cohort import real_parts
from scan2map.systems.bssfp_dti.representation import turn_elements
from scan2map.training.stream import Samples, generator


def subject(arrays, modality="pc_bssfp", kind="log"):
    return patches.as_subject(arrays, modality, kind, 2.0)


@pytest.fixture
def plain(settings):
    return settings()["patches"] | {"flipped_share": 0, "turned_share": 0}


def test_phase_cycles_become_24_channels_of_magnitude_and_phase():
    rng = np.random.default_rng(1)
    signal = rng.uniform(1, 2, (12, 3, 4, 5)) * np.exp(1j * rng.uniform(-3, 3, (12, 3, 4, 5)))
    mask = np.ones((3, 4, 5), bool)
    parts = real_parts(signal.astype(np.complex64))
    mean = channels.brain_mean(parts, mask)
    assert mean == pytest.approx(np.abs(signal).mean(), rel=1e-5)
    found = channels.bssfp_channels(torch.from_numpy(parts), mean).numpy()
    assert found.shape == (24, 3, 4, 5)
    assert found[0::2] == pytest.approx(np.abs(signal) / mean, rel=1e-4)
    assert found[1::2] == pytest.approx(np.angle(signal) / (2 * np.pi) + 0.5, abs=1e-5)
    repeated = channels.single_cycle(torch.from_numpy(found)).numpy()
    assert repeated[0::2] == pytest.approx(np.broadcast_to(found[12], (12, 3, 4, 5)))


def test_the_gain_of_the_scanner_does_not_matter(arrays):
    mask = arrays["mask"] > 0
    first, louder = (torch.from_numpy(gain * arrays["bssfp"][0].astype(np.float32)) for gain in (1, 7))
    scaled = [channels.bssfp_channels(one, channels.brain_mean(one.numpy(), mask)) for one in (first, louder)]
    assert scaled[0].numpy() == pytest.approx(scaled[1].numpy(), abs=1e-5)


def test_constants_bring_the_largest_values_to_one(arrays):
    found = channels.channel_constants([arrays])
    mask = arrays["mask"] > 0
    raw = {"bssfp": torch.from_numpy(arrays["bssfp"][0].astype(np.float32)), "mask": torch.from_numpy(mask)[None]}
    means = {"bssfp": channels.brain_mean(arrays["bssfp"][0], mask)}
    image = channels.image_of("pc_bssfp", raw, means) * channels.channel_scale("pc_bssfp", found)
    assert 0.9 < np.percentile(image[0::2][:, mask].numpy(), 99.9) <= 1.0


@pytest.mark.parametrize(
    ("modality", "count"), [("pc_bssfp", 24), ("single_bssfp", 24), ("t1w", 6), ("template", 12), ("template_true", 12)]
)
def test_patches_of_every_modality(arrays, settings, modality, count):
    draw = patches.Patches([subject(arrays, modality)], modality, settings()["patches"])
    sample = draw(generator(1, 4))
    assert sample["image"].shape == (count, 32, 32, 32)
    assert sample["matrices"].shape == (6, 32, 32, 32)
    outside = sample["mask"][0] == 0
    assert not sample["matrices"][:, outside].any()
    assert modality.startswith("template") or not sample["image"][:, outside].any()


def test_a_sample_is_a_function_of_its_number(arrays, settings):
    draw = patches.Patches([subject(arrays, "pc_bssfp")], "pc_bssfp", settings()["patches"])
    first, second = Samples(draw, 3), Samples(draw, 3)
    _ = [first[index] for index in range(4)]
    for name, values in first[5].items():
        assert torch.equal(values, second[5][name])
    assert not torch.equal(first[5]["image"], first[6]["image"])


def test_sessions_are_paired_across(arrays, plain):
    marked = arrays | {
        "t1w": arrays["t1w"],
        "bssfp": np.stack([np.full_like(arrays["bssfp"][0], value) for value in (1, 2)]),
        "tensor": np.stack([arrays["mask"] * np.float16([1, 0, 0, 1, 0, 1]).reshape(6, 1, 1, 1) * v for v in (1, 2)]),
    }
    one = subject(marked, "pc_bssfp", kind="raw")
    one.means["bssfp"][:] = [1.0, 1.0]
    draw = patches.Patches([one], "pc_bssfp", plain, augment=False)
    seen = set()
    for number in range(40):
        sample = draw(generator(1, number))
        inside = sample["mask"][0] > 0
        seen.add((round(float(sample["image"][0][inside].max()), 2), float(sample["matrices"][0][inside].max())))
    assert len(seen) == 4


def test_a_turned_patch_is_a_patch_of_the_turned_head(arrays):
    """A tensor field that is linear in place is read exactly; its turned patch holds Rᵀ D(c + R o) R."""
    turn = Rotation.from_euler("xyz", [3, -2, 20], degrees=True).as_matrix()
    place = np.stack(np.meshgrid(*(np.arange(n, dtype=float) for n in (30, 32, 28)), indexing="ij"))
    field = torch.from_numpy(np.stack([place[0], place[1], place[2], place[0] - place[1], place[2], place.sum(0)]))
    centre = np.array([15, 16, 14])
    patch = turn_elements(patches.crop(field.float(), centre, 6, turn), turn.T)
    offset = np.array([2, -1, 1])
    where = centre + turn @ offset
    x, y, z = where
    wanted = np.array([[x, y, z], [y, x - y, z], [z, z, x + y + z]])
    wanted = turn.T @ wanted @ turn
    found = patch[:, *(offset + 3)].numpy()
    assert found == pytest.approx(wanted[[0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]], abs=1e-3)


def test_a_flipped_patch_mirrors_image_and_tensor(arrays, plain):
    one = subject(arrays, "pc_bssfp", kind="raw")
    still = patches.Patches([one], "pc_bssfp", plain, augment=True)
    flipping = patches.Patches([one], "pc_bssfp", plain | {"flipped_share": 1}, augment=True)
    before, after = (draw(generator(2, 9))["matrices"] for draw in (still, flipping))
    assert after[1].numpy() == pytest.approx(-before[1].flip(0).numpy())
    assert after[3].numpy() == pytest.approx(before[3].flip(0).numpy())


def test_crops_beyond_the_volume_are_zero():
    volume = torch.ones(1, 8, 8, 8)
    patch = patches.crop(volume, np.array([0, 4, 7]), 6, None)
    assert patch.shape == (1, 6, 6, 6)
    assert patch.sum() == 3 * 6 * 4
