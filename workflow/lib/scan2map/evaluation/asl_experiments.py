"""Experiment: CBF and transit time from simulated difference signals with known truth, beside the Cramér–Rao bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from scan2map.evaluation.long_table import Row, long_table, write_long_table
from scan2map.phantom.study import session_seed
from scan2map.phantom.subject import build_subject, random_generator
from scan2map.physics import asl as physics
from scan2map.physics import asl_kinetics as kinetics
from scan2map.physics.asl_bounds import chapman_robbins_sd
from scan2map.physics.asl_design import LabelDesign, join_designs, label_design
from scan2map.preprocess.asl.calibration import TISSUE_T1_S
from scan2map.preprocess.asl.fit import UNDETERMINED, FitOptions, fit_kinetic

STEP = "run_asl_experiment"
DESCRIPTION = "CBF and arterial transit time from simulated signals: errors beside the Cramér-Rao bound"
RMSE = "root_mean_square_error"
# Voxels that hold at least this share of a tissue stand for it.
PURE = 0.9
# Population of the orientation table: share of grey matter, and uniform ranges of CBF (ml/100g/min) and ATT (s).
MIXED_SHARE = 0.6
MIXED = {"GM": ((30.0, 90.0), (0.8, 2.2)), "WM": ((10.0, 35.0), (1.0, 2.5))}


@dataclass(frozen=True)
class Tissue:
    """True perfusion (ml/100g/min) and transit time (s) of some voxels, (n,), and the tissue of each."""

    cbf: np.ndarray
    att_s: np.ndarray
    name: np.ndarray

    @property
    def t1_s(self) -> np.ndarray:
        """T1 of the tissue, s, (n,)."""
        return np.array([TISSUE_T1_S[name] for name in self.name])


def sample_tissue(subject, voxels: int, generator: np.random.Generator) -> Tissue:
    """Perfusion and transit time of voxels of grey and of white matter of a digital subject.

    Args:
        subject: a ``DigitalSubject``.
        voxels: of each tissue; all there are if fewer.
        generator: of the choice.
    """
    parts = []
    for name in ("gm", "wm"):
        there = np.flatnonzero(subject.fractions[name] >= PURE)
        chosen = generator.choice(there, min(voxels, len(there)), replace=False)
        values = (volume.reshape(-1)[chosen].astype(float) for volume in (subject.cbf_ml_100g_min, subject.att_s))
        parts.append((*values, np.full(len(chosen), name.upper())))
    return Tissue(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def mixed_tissue(voxels: int, generator: np.random.Generator) -> Tissue:
    """The population of the orientation table: uniform ranges, 60 % grey matter."""
    grey = round(MIXED_SHARE * voxels)
    name = np.array(["GM"] * grey + ["WM"] * (voxels - grey))
    ranges = np.array([MIXED[one] for one in name])
    cbf, att_s = (generator.uniform(*ranges[:, column].T) for column in (0, 1))
    return Tissue(cbf, att_s, name)


def designs(protocol: Mapping, settings: Mapping) -> dict[str, LabelDesign]:
    """Difference images of each type of labelling, one per delay.

    Args:
        protocol: block ``phantom.asl``.
        settings: block ``validation.asl_experiments``.
    """
    pulsed, continuous, velocity = settings["pulsed"], protocol["multi_delay"], protocol["velocity_selective"]
    found = {
        "pcasl": _design("PCASL", continuous, continuous["label_duration_s"]),
        "pasl": label_design(
            "PASL", pulsed["inversion_times_s"], pulsed["bolus_duration_s"], efficiency=physics.PASL_EFFICIENCY
        ),
        "vsasl": _design("VSASL", velocity, float("inf")),
    }
    return found | {"joint": join_designs(found["pcasl"], found["vsasl"])}


def _design(kind: str, labelling: Mapping, duration_s: float) -> LabelDesign:
    return label_design(
        kind, labelling["post_label_delays_s"], duration_s, efficiency=labelling["efficiency"],
        suppression_pulses=labelling["background_suppression_pulses"],
    )  # fmt: skip


def measure(signal: np.ndarray, tissue: Tissue, snr: float, generator: np.random.Generator, of: str = "GM"):
    """Noisy signals (voxels, volumes), and σ of one: the mean of a tissue over its voxels and delays, by SNR."""
    sigma = float(signal[:, tissue.name == of].mean() / snr)
    return (signal + generator.normal(0, sigma, signal.shape)).T, sigma


def fit_rows(
    name: str, design: LabelDesign, tissue: Tissue, snr: float, model: str, seed: int, of: str = "GM"
) -> Iterator[Row]:
    """Errors of CBF and ATT in grey and white matter, least squares with the model that made the signals.

    Args:
        name: of the type of labelling, for the metric.
        design: the volumes.
        tissue: the truth.
        snr: mean signal of a tissue over all delays over the noise of one difference image.
        model: kinetic model of signals and fit.
        seed: of the noise.
        of: the tissue of that ratio.
    """
    condition = f"{name}:{model}:snr{snr:g}" + ("" if of == "GM" else f"_{of.lower()}")
    kinetic = {"model": model, "tissue_t1_s": tissue.t1_s}
    signal = kinetics.difference_signals(design, tissue.cbf, tissue.att_s, **kinetic)
    data, sigma = measure(signal, tissue, snr, random_generator(seed, condition), of)
    fit = fit_kinetic(data, design, FitOptions(noise_sd=sigma, **kinetic))
    bounds = _bounds(design, tissue, sigma, kinetic)
    late = 1e3 * (fit.att_s.numpy() - tissue.att_s)
    for roi in ("GM", "WM"):
        own = tissue.name == roi
        inside = own & np.isfinite(bounds["ATT"]["cramer_rao"])
        error = fit.cbf.numpy() - tissue.cbf
        yield from error_rows(condition, roi, inside, "CBF", error, bounds["CBF"], "ml/100g/min")
        yield from error_rows(condition, roi, inside, "ATT", late, bounds["ATT"], "ms")
        share = float((fit.status.numpy() == UNDETERMINED)[own].mean())
        yield Row(roi, f"{condition}:undetermined", "share", share, "1", int(own.sum()))


def _bounds(design: LabelDesign, tissue: Tissue, sigma: float, kinetic: Mapping) -> dict[str, dict[str, np.ndarray]]:
    """Floors of the standard deviation of CBF (ml/100g/min) and of ATT (ms), by the name of the bound."""
    truth = (design, tissue.cbf, tissue.att_s, sigma)
    found = {
        "cramer_rao": kinetics.cramer_rao_sd(*truth, **kinetic),
        "chapman_robbins": chapman_robbins_sd(*truth, **kinetic),
    }
    return {
        quantity: {name: unit * pair[index] for name, pair in found.items()}
        for index, (quantity, unit) in enumerate((("CBF", 1.0), ("ATT", 1e3)))
    }


def error_rows(
    condition: str, roi: str, inside: np.ndarray, quantity: str, error, bounds: Mapping[str, np.ndarray], unit: str
) -> Iterator[Row]:
    """Bias, RMSE, each bound (root mean square over the voxels), and the ratio of RMSE and bound."""
    count, metric = int(inside.sum()), f"{condition}:{quantity}"
    rmse = _root_mean_square(error[inside])
    yield Row(roi, metric, "bias", float(np.mean(error[inside])), unit, count)
    yield Row(roi, metric, RMSE, rmse, unit, count)
    for name, bound in bounds.items():
        floor = _root_mean_square(bound[inside])
        yield Row(roi, metric, f"{name}_bound", floor, unit, count)
        yield Row(roi, metric, f"ratio_to_{name}", rmse / floor, "1", count)


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def consensus_rows(protocol: Mapping, settings: Mapping, tissue: Tissue) -> Iterator[Row]:
    """Bias of the consensus formulas for one delay in noise-free signals: what label that is still on its way costs."""
    single, velocity, pulsed = protocol["single_delay"], protocol["velocity_selective"], settings["pulsed"]
    delay, duration = single["post_label_delays_s"][0], single["label_duration_s"]
    inversion, bolus = pulsed["consensus_inversion_time_s"], pulsed["bolus_duration_s"]
    early = settings["velocity_selective_delay_s"]
    cases = (
        ("PCASL", delay, duration, single["efficiency"], physics.cbf_from_pcasl),
        ("PASL", inversion, bolus, physics.PASL_EFFICIENCY, physics.cbf_from_pasl),
        ("VSASL", early, None, velocity["efficiency"], physics.cbf_from_vsasl),
    )
    for kind, time_s, duration_s, efficiency, formula in cases:
        design = label_design(kind, [time_s], duration_s or np.inf, efficiency=efficiency)
        signal = kinetics.difference_signals(design, tissue.cbf, tissue.att_s)[0]
        timing = (time_s,) if duration_s is None else (time_s, duration_s)
        error = formula(signal, np.ones_like(signal), *timing, efficiency=efficiency) - tissue.cbf
        for roi in ("GM", "WM"):
            inside = tissue.name == roi
            bias, count = float(error[inside].mean()), int(inside.sum())
            yield Row(roi, f"consensus_{kind.lower()}:CBF", "bias", bias, "ml/100g/min", count)


def mismatch_rows(design: LabelDesign, tissue: Tissue) -> Iterator[Row]:
    """Bias of a noise-free fit with the one-compartment model where label decays with the T1 of tissue."""
    signal = kinetics.difference_signals(
        design, tissue.cbf, tissue.att_s, model=kinetics.GENERAL_KINETIC, tissue_t1_s=tissue.t1_s
    )
    fit = fit_kinetic(signal.T, design)
    for roi in ("GM", "WM"):
        inside = tissue.name == roi
        relative = 100 * (fit.cbf.numpy() / tissue.cbf - 1)[inside]
        late = 1e3 * (fit.att_s.numpy() - tissue.att_s)[inside]
        yield Row(roi, "mismatch:CBF", "relative_bias", float(relative.mean()), "%", int(inside.sum()))
        yield Row(roi, "mismatch:ATT", "bias", float(late.mean()), "ms", int(inside.sum()))


def orientation_rows(design: LabelDesign, settings: Mapping, seed: int) -> Iterator[Row]:
    """Least squares on the mixed population: R² and RMSE of CBF, RMSE of ATT, and the bound in grey matter."""
    tissue = mixed_tissue(settings["voxels"], random_generator(seed, "orientation"))
    signal = kinetics.difference_signals(design, tissue.cbf, tissue.att_s)
    grey = tissue.name == "GM"
    for snr_gm in settings["orientation_snr_gm"]:
        data, sigma = measure(signal, tissue, snr_gm, random_generator(seed, "orientation", f"{snr_gm:g}"))
        fit = fit_kinetic(data, design, FitOptions(noise_sd=sigma))
        bounds = kinetics.cramer_rao_sd(design, tissue.cbf, tissue.att_s, sigma)
        error, late = fit.cbf.numpy() - tissue.cbf, 1e3 * (fit.att_s.numpy() - tissue.att_s)
        name, count = f"orientation:snr{snr_gm:g}", len(error)
        explained = 1 - np.sum(error**2) / np.sum((tissue.cbf - tissue.cbf.mean()) ** 2)
        yield Row("GM+WM", f"{name}:CBF", "r_squared", float(explained), "1", count)
        yield Row("GM+WM", f"{name}:CBF", RMSE, float(np.sqrt(np.mean(error**2))), "ml/100g/min", count)
        yield Row("GM+WM", f"{name}:ATT", RMSE, float(np.sqrt(np.mean(late**2))), "ms", count)
        medians = [float(np.median(bound[grey])) for bound in bounds]
        yield Row("GM", f"{name}:CBF", "median_cramer_rao_bound", medians[0], "ml/100g/min", int(grey.sum()))
        yield Row("GM", f"{name}:ATT", "median_cramer_rao_bound", 1e3 * medians[1], "ms", int(grey.sum()))


def experiment_rows(tissue: Tissue, protocol: Mapping, settings: Mapping, seed: int) -> Iterator[Row]:
    """All rows of one subject; arguments as in :func:`run_asl_experiment`."""
    every = designs(protocol, settings)
    for name, design in every.items():
        for model in kinetics.MODELS:
            for snr_gm in settings["snr_gm"]:
                yield from fit_rows(name, design, tissue, snr_gm, model, seed)
            # The bound is reached where the signal is strong: white matter's is not at that SNR of grey matter.
            yield from fit_rows(name, design, tissue, max(settings["snr_gm"]), model, seed, of="WM")
    yield from consensus_rows(protocol, settings, tissue)
    yield from mismatch_rows(every["joint"], tissue)
    yield from orientation_rows(every["joint"], settings, seed)


def run_asl_experiment(
    out, *, subject: str, session: str, head: Mapping, protocol: Mapping, settings: Mapping, seed: int, threads: int = 1
) -> None:
    """Fit simulated difference signals of one digital subject and write the errors as a long table.

    Args:
        out: the table.
        subject, session: labels.
        head: block ``phantom_subject``.
        protocol: block ``phantom.asl``.
        settings: block ``validation.asl_experiments``.
        seed: of the study.
        threads: of torch.
    """
    import torch

    torch.set_num_threads(threads)
    own = session_seed(subject, session, seed)
    tissue = sample_tissue(build_subject(subject, dict(head), seed), settings["voxels"], random_generator(own, STEP))
    table = long_table(experiment_rows(tissue, protocol, settings, own), subject=subject, session=session)
    write_long_table(table, out, step=STEP, description=DESCRIPTION, settings=dict(settings) | {"seed": seed})
