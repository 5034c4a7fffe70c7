"""Multi-shell diffusion with echo-planar readout, and a b = 0 series with opposed phase encoding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from scan2map.phantom.acquisition import epi
from scan2map.phantom.acquisition.distortion import EDDY_TERMS, eddy_coefficients
from scan2map.phantom.acquisition.gradients import GradientTable, multi_shell_table
from scan2map.phantom.acquisition.grid import HeadSampler
from scan2map.phantom.acquisition.motion import motion_parameters
from scan2map.phantom.acquisition.scan import (
    FAT_SUPPRESSION,
    Scan,
    Scanner,
    TruthImage,
    grid_record,
    tissue_truth,
)
from scan2map.phantom.series import Series
from scan2map.phantom.subject import DigitalSubject
from scan2map.physics.diffusion import quadratic_form, tensor_scalars
from scan2map.physics.noise import rician

GAIN = 4000.0  # stored units per unit of proton density at TE = 0
VOLUMES_AT_ONCE = 8  # bounds memory where many volumes share one head position
MAIN, REVERSED = "dwi_dir-AP", "dwi_b0_dir-PA"
PHASE_ENCODING = {MAIN: "j-", REVERSED: "j"}
MOTION_COLUMNS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")


@dataclass(frozen=True)
class _Part:
    """One compartment where it is present: flat voxel indices, signal at b = 0, tensors (n, 6) or (6,)."""

    voxels: np.ndarray
    signal: np.ndarray
    tensor: np.ndarray


class DiffusionHead:
    """Diffusion signals of the head on the subject's grid.

    Args:
        subject: the digital head.
        echo_time_s: of the spin echo, s; relaxation weighting is e^(−TE/T2).
    """

    def __init__(self, subject: DigitalSubject, echo_time_s: float):
        self.shape = subject.field_hz.shape
        self._parts = []
        for compartment in subject.compartments():
            voxels = np.flatnonzero(compartment.fraction)
            weight = GAIN * subject.pd[compartment.tissue] * np.exp(-echo_time_s / subject.t2_s[compartment.tissue])
            weight *= FAT_SUPPRESSION if compartment.tissue == "scalp" else 1.0
            signal = compartment.fraction.reshape(-1)[voxels] * np.float32(weight)
            same = compartment.tensor.strides[:3] == (0, 0, 0)
            tensor = compartment.tensor[0, 0, 0] if same else compartment.tensor.reshape(-1, 6)[voxels]
            self._parts.append(_Part(voxels, signal, np.asarray(tensor, dtype=np.float32)))

    def signal(self, b_value: float, b_vector: np.ndarray) -> torch.Tensor:
        """Signal Σ s_c exp(−b gᵀD_c g) for a gradient in the axes of the head as built, (x, y, z)."""
        weights = (b_value * quadratic_form(np.asarray(b_vector))).astype(np.float32)
        total = np.zeros(int(np.prod(self.shape)), dtype=np.float32)
        for part in self._parts:
            total[part.voxels] += part.signal * np.exp(-(part.tensor @ weights))
        return torch.from_numpy(total.reshape(self.shape))

    def first_cumulant(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Signal at b = 0 (1, x, y, z), and its product with the first-cumulant tensor (6, x, y, z)."""
        moment = np.zeros((6, int(np.prod(self.shape))), dtype=np.float32)
        for part in self._parts:
            moment[:, part.voxels] += (part.signal[:, None] * part.tensor).T
        return self.signal(0, np.zeros(3))[None], torch.from_numpy(moment.reshape(6, *self.shape))


def noise_free_volumes(head: DiffusionHead, sampler: HeadSampler, table: GradientTable, head_to_world) -> np.ndarray:
    """What an ideal scanner would measure of a head at rest: no distortion, sensitivity or noise, (x, y, z, n)."""
    vectors = table.b_vectors @ head_to_world[:3, :3]  # Rᵀg: the gradient as the head sees it
    chunks = []
    for start in range(0, len(vectors), VOLUMES_AT_ONCE):
        chosen = slice(start, start + VOLUMES_AT_ONCE)
        signals = [head.signal(b, g) for b, g in zip(table.b_values[chosen], vectors[chosen], strict=True)]
        chunks.append(sampler.read(torch.stack(signals), head_to_world))
    return torch.cat(chunks).movedim(0, -1).numpy()


def fit_tensors(signals: np.ndarray, mask: np.ndarray, table: GradientTable) -> np.ndarray:
    """Tensors (x, y, z, 6) by weighted least squares (dipy) inside a mask, in the axes of the b-vectors."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel, lower_triangular

    model = TensorModel(gradient_table(table.b_values, bvecs=table.b_vectors), fit_method="WLS")
    lower = lower_triangular(model.fit(signals[mask]).quadratic_form)  # Dxx, Dxy, Dyy, Dxz, Dyz, Dzz
    tensors = np.zeros((*mask.shape, 6), dtype=np.float32)
    tensors[mask] = lower[..., [0, 1, 3, 2, 4, 5]]
    return tensors


def cumulant_tensors(head: DiffusionHead, sampler: HeadSampler, head_to_world: np.ndarray) -> np.ndarray:
    """First-cumulant tensors (x, y, z, 6) on the acquisition grid, in world axes."""
    from scan2map.physics.diffusion import rotate_tensor

    b0, moment = head.first_cumulant()
    b0, moment = sampler.read(b0, head_to_world), sampler.read(moment, head_to_world)
    tensor = (moment / b0.clamp_min(1e-3)).movedim(0, -1).numpy()
    return rotate_tensor(tensor, head_to_world[:3, :3].astype(np.float32))


@dataclass(frozen=True)
class _Measured:
    """A diffusion series, where the head was, and the record of its disturbances."""

    series: Series
    positions: list[np.ndarray]
    record: dict


def measure(
    scanner: Scanner, head: DiffusionHead, sampler: HeadSampler, description: str, table, sigma: float
) -> _Measured:
    """Measure one series with motion, eddy currents, distortion, dropped slices and noise as the settings say."""
    protocol, count = scanner.settings["dwi"], len(table.b_values)
    positions = scanner.positions(description, count)
    eddy = eddy_coefficients(table.b_values, table.b_vectors, scanner.settings["eddy"], scanner.generator("eddy"))
    kept = epi.dropped_slices(
        count, sampler.grid.shape[2], scanner.settings["dropout"], scanner.generator(description, "dropout")
    )
    kept[table.b_values == 0] = 1.0
    scan = epi.readout(scanner, sampler, protocol, PHASE_ENCODING[description])
    noise = scanner.generator(description, "noise")
    data = np.empty((*sampler.grid.shape, count), dtype=np.float32)
    for index, place in enumerate(positions):
        signal = head.signal(table.b_values[index], table.b_vectors[index] @ place[:3, :3])
        volume = scan.measure(signal, place, eddy[index]).numpy()
        data[..., index] = rician(volume * kept[index], sigma, noise)
    series = Series(
        {MAIN: 10, REVERSED: 11}[description], description, data, sampler.grid.affine, is_3d=False,
        repetition_time_s=protocol["repetition_time_s"], echo_time_s=protocol["echo_time_s"],
        b_values_s_per_mm2=table.b_values, b_vectors=table.b_vectors, phase_encoding=PHASE_ENCODING[description],
        total_readout_time_s=protocol["total_readout_time_s"], sequence_name="ep2d_diff",
        slice_times_s=epi.interleaved_slice_times(sampler.grid.shape[2], 0.95 * protocol["repetition_time_s"]),
    )  # fmt: skip
    record = {
        "grid": grid_record(sampler.grid), "noise_sigma": sigma,
        "head_to_world": [np.round(place, 6).tolist() for place in positions],
        "eddy_terms_at_100_mm": list(EDDY_TERMS), "eddy_hz": np.round(eddy, 4).tolist(),
        "dropped_slices": np.argwhere(kept < 1).tolist(),
    }  # fmt: skip
    return _Measured(series, positions, record)


def motion_rows(measured: list[_Measured], centre_mm) -> list[dict]:
    """Head position of every volume relative to the first of the first series (mm, rad)."""
    first = np.linalg.inv(measured[0].positions[0])
    rows = []
    for one in measured:
        for index, place in enumerate(one.positions):
            values = motion_parameters(place @ first, centre_mm)
            rows.append(
                {"series": one.series.description, "volume": index} | dict(zip(MOTION_COLUMNS, values, strict=True))
            )
    return rows


def _scalar_images(tensors, affine, model: str, names, description: str) -> list[TruthImage]:
    scalars = tensor_scalars(tensors)._asdict()
    unit = {"fa": "arbitrary", "md": "mm^2/s", "ad": "mm^2/s", "rd": "mm^2/s"}
    return [
        TruthImage("dwi", "dwimap", scalars[name].astype(np.float32), affine, f"{name.upper()} of {description}",
                   unit[name], {"model": model, "param": name.upper()})
        for name in names
    ]  # fmt: skip


def truth_images(
    scanner: Scanner, head: DiffusionHead, sampler: HeadSampler, table: GradientTable, place
) -> list[TruthImage]:
    """Tissue, tensors, their scalars and the field on the undistorted grid, head as in the first volume."""
    affine = sampler.grid.affine
    maps = scanner.tissue_maps(sampler, place)
    inside = sum(maps.values()) > 0.05
    shell = table.rows(table.b_values <= scanner.settings["dwi"]["tensor_b_max_s_per_mm2"])
    fitted = fit_tensors(noise_free_volumes(head, sampler, shell, place), inside, shell)
    cumulant = np.where(inside[..., None], cumulant_tensors(head, sampler, place), 0).astype(np.float32)
    field = sampler.read_array(scanner.subject.field_hz, place)
    text = "the tensor that an ideal scan of the tensor shell gives"
    return [
        *tissue_truth("dwi", maps, affine),
        TruthImage("dwi", "dwimap", fitted, affine, "Dxx, Dxy, Dxz, Dyy, Dyz, Dzz in world axes: " + text, "mm^2/s",
                   {"model": "DTI", "param": "tensor"}),
        *_scalar_images(fitted, affine, "DTI", ("fa", "md", "ad", "rd"), text),
        *_scalar_images(cumulant, affine, "cumulant", ("fa", "md"), "the first cumulant of the signal"),
        TruthImage("fmap", "fieldmap", field, affine, "Off-resonance of the head", "Hz", {"desc": "truth"}),
    ]  # fmt: skip


def acquire(scanner: Scanner) -> Scan:
    """The multi-shell series, the reversed b = 0 series, and what is true on their grid."""
    protocol = scanner.settings["dwi"]
    sampler = scanner.sampler(protocol)
    head = DiffusionHead(scanner.subject, protocol["echo_time_s"])
    table = multi_shell_table(protocol["shells"], protocol["b0_volumes"])
    place = scanner.resting_place(MAIN)
    b0 = sampler.read_array(head.signal(0, np.zeros(3)).numpy(), place)
    sigma = scanner.noise_sigma(b0, sampler.read_array(scanner.subject.fractions["wm"], place), protocol["snr"])
    reverse = GradientTable(np.zeros(protocol["reversed_b0_volumes"]), np.zeros((protocol["reversed_b0_volumes"], 3)))
    measured = [
        measure(scanner, head, sampler, MAIN, table, sigma),
        measure(scanner, head, sampler, REVERSED, reverse, sigma),
    ]
    return Scan(
        [one.series for one in measured],
        truth_images(scanner, head, sampler, table, place),
        {one.series.description: one.record for one in measured},
        motion_rows(measured, sampler.grid.centre_mm),
    )
