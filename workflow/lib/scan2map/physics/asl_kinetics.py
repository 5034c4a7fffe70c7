"""Arterial spin labelling with any mixture of labelling: responses, their derivatives, Cramér–Rao bounds.

Everything follows from the general kinetic model [1]: the difference signal is the labelled blood that has been
delivered, times what is left of it. With perfusion f in ml/g/s and apparent tissue relaxation rate r,

    ΔM/M0 = f · k(ATT, r),   k = (2/λ) ∫₀ᵗ c(t') e^(−r (t−t')) dt',   c(t') the labelled fraction of the arriving blood.

``consensus`` (one compartment [2]): label decays as in blood wherever it is, r = 1/T1b, so ΔM is linear in f.
``general_kinetic``: after arrival label decays with tissue and leaves it by venous flow, r = 1/T1 + f/λ.

Functions run on NumPy arrays and torch tensors alike. Volumes are the first axis of what they return.

References:
    [1] Buxton et al., Magn Reson Med 40:383 (1998), equations 1 to 5.
    [2] Alsop et al., Magn Reson Med 73:102 (2015).
    [3] Qin et al., Magn Reson Med 88:1528 (2022), velocity-selective labelling.
    [4] Chappell et al., Magn Reson Med 63:1357 (2010), macrovascular component.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from scan2map.errors import SettingError
from scan2map.physics.asl import CBF_UNIT
from scan2map.physics.asl_design import CONTINUOUS, LABELLING, PULSED, VELOCITY, LabelDesign
from scan2map.physics.backend import array_namespace, as_arrays

CONSENSUS, GENERAL_KINETIC = "consensus", "general_kinetic"
MODELS = (CONSENSUS, GENERAL_KINETIC)
# A pivot below this share of its diagonal is rounding.
SINGULAR = 1e-12
# Relaxation rates of blood and tissue that differ by less than this share are equal.
EQUAL_RATES = 1e-12
# Below this exponent the quotient (1 − e^(−x)) / x loses digits and its series is used.
SMALL_EXPONENT = 1e-3


class Response(NamedTuple):
    """k(ATT, r) and its derivatives with respect to ATT (one-sided at a kink: towards later ATT) and r."""

    value: Any
    by_att: Any
    by_rate: Any


def continuous_response(att_s, pld_s, label_duration_s, rate, blood_t1_s, by_rate=True) -> Response:
    """Delivered label of PCASL and CASL per unit of 2 α/λ [1, eq. 5].

    c(t') = e^(−ATT/T1b) for ATT ≤ t' < ATT + τ, read at t = τ + PLD:
    k = e^(−ATT/T1b) (e^(−r·p) − e^(−r·q)) / r with p = max(PLD − ATT, 0), q = max(τ + PLD − ATT, 0).

    Args:
        att_s: arterial transit time, s.
        pld_s: post-labelling delay, s.
        label_duration_s: τ, s.
        rate: apparent relaxation rate of the label in tissue, 1/s.
        blood_t1_s: T1 of arterial blood, s.
        by_rate: whether the derivative with respect to the rate is needed.
    """
    xp = array_namespace(att_s, rate)
    zero = xp.zeros_like(att_s - pld_s)
    since_end, since_start = xp.maximum(pld_s - att_s, zero), xp.maximum(pld_s + label_duration_s - att_s, zero)
    arrived = xp.exp(-att_s / blood_t1_s)
    end, start = arrived * xp.exp(-rate * since_end), arrived * xp.exp(-rate * since_start)
    value = (end - start) / rate
    ratio = 1 / (rate * blood_t1_s)
    ratio = xp.where(xp.abs(ratio - 1) < EQUAL_RATES, xp.ones_like(ratio), ratio)  # no rounding: an exact 0 below
    lasting, lost = xp.where(since_end > 0, 1 - ratio, -ratio), xp.where(since_start > 0, 1 - ratio, -ratio)
    by_att = end * lasting - start * lost
    return Response(value, by_att, (since_start * start - since_end * end - value) / rate if by_rate else None)


def bolus_response(arrival_s, bolus_s, time_s, rate, blood_t1_s, by_arrival, by_bolus, by_rate=True) -> Response:
    """Delivered label of a bolus inverted or saturated at t = 0, per unit of 2 α/λ [1, eq. 3].

    c(t') = e^(−t'/T1b) for arrival ≤ t' < arrival + bolus, read at t:
    k = e^(−r·t − κ·arrival) φ(κ, u) with κ = 1/T1b − r, u = min(t − arrival, bolus) ≥ 0, φ = (1 − e^(−κu)) / κ.

    Args:
        arrival_s: when the bolus arrives, s.
        bolus_s: its duration, s; infinite for PASL without a cut-off.
        time_s: time of the readout, s.
        rate: apparent relaxation rate of the label in tissue, 1/s.
        blood_t1_s: T1 of arterial blood, s.
        by_arrival, by_bolus: derivatives of arrival and bolus with respect to the transit time (0 or 1).
        by_rate: whether the derivative with respect to the rate is needed.
    """
    xp = array_namespace(arrival_s, bolus_s, rate)
    since = time_s - arrival_s + 0 * bolus_s if by_bolus else time_s - arrival_s
    zero = xp.zeros_like(since)
    there = xp.maximum(since, zero)
    delivered = xp.minimum(there, bolus_s + zero)
    kappa = 1 / blood_t1_s - rate
    scale = xp.exp(-rate * time_s - kappa * arrival_s)
    integral, by_kappa, last = _exponential_integral(kappa + zero, delivered)
    arriving = (since > 0) & (since <= bolus_s)
    moving = -by_arrival * arriving + by_bolus * (since > bolus_s)
    value = scale * integral
    by_att = scale * last * moving - by_arrival * kappa * value
    return Response(value, by_att, (arrival_s - time_s) * value - scale * by_kappa if by_rate else None)


def _exponential_integral(kappa, length):
    """∫₀ᵘ e^(−κx) dx, its derivative with respect to κ, and the integrand at u."""
    xp = array_namespace(kappa, length)
    exponent = kappa * length
    small = xp.abs(exponent) < SMALL_EXPONENT
    safe = xp.where(small, xp.ones_like(kappa), kappa)
    last = xp.exp(-exponent)
    value = xp.where(small, length * (1 - exponent / 2 + exponent**2 / 6), -xp.expm1(-exponent) / safe)
    series = -(length**2) * (0.5 - exponent / 3 + exponent**2 / 8)
    return value, xp.where(small, series, (length * last - value) / safe), last


def responses(design: LabelDesign, att_s, rate, delay_offset_s=0.0, *, by_rate=True) -> Response:
    """Response of every volume of a design: ΔM/M0 per ml/g/s of perfusion.

    Args:
        design: the volumes.
        att_s: arterial transit time, s, any shape.
        rate: apparent relaxation rate of label in tissue, 1/s, broadcasts against ``att_s``.
        delay_offset_s: added to all delays (later slices of a 2-D readout), broadcasts against ``att_s``; with one more
            axis in front, one row for each volume.
        by_rate: whether the derivative with respect to the rate is needed.

    Returns:
        Arrays (volumes, *shape of att_s).
    """
    parts, order = [], []
    for kind, respond in _RESPONDERS.items():
        chosen = [index for index, name in enumerate(design.kinds) if LABELLING[name] == kind]
        if chosen:
            delay, duration, efficiency = _columns(design, chosen, att_s)
            later = _rows(delay_offset_s, chosen, att_s)
            part = respond(att_s, delay + later, duration, rate, design.blood_t1_s, by_rate)
            scale = 2 / design.partition * efficiency
            parts.append([None if array is None else scale * array for array in part])
            order += chosen
    return Response(*(_in_order(arrays, order) for arrays in zip(*parts, strict=True)))


def arterial_responses(design: LabelDesign, arrival_s, delay_offset_s=0.0):
    """Signal of labelled blood in arteries: ΔM/M0 per unit of arterial blood volume (ml/ml) [4].

    PCASL: (2α/λ) e^(−a/T1b) while the bolus passes, a ≤ τ + PLD < a + τ. PASL: (2α/λ) e^(−TI/T1b) for
    a ≤ TI < a + bolus. VSASL: 0, its last velocity-selective module spoils flowing blood [3].

    Args:
        design: the volumes.
        arrival_s: arrival a in the artery of the voxel, s, any shape.
        delay_offset_s: as in :func:`responses`.

    Returns:
        (volumes, *shape of arrival_s).
    """
    xp = array_namespace(arrival_s)
    delay, duration, efficiency = _columns(design, range(len(design)), arrival_s)
    kinds = np.array([LABELLING[kind] for kind in design.kinds])
    continuous, seen = _columns_of((kinds == CONTINUOUS, kinds != VELOCITY), arrival_s)
    start = delay + delay_offset_s + continuous * xp.where(continuous > 0, duration, 0 * continuous)
    passing = (arrival_s <= start) & (start < arrival_s + duration)
    decay = xp.exp(-xp.where(continuous > 0, arrival_s + 0 * start, start + 0 * arrival_s) / design.blood_t1_s)
    return 2 / design.partition * efficiency * seen * xp.where(passing, decay, 0 * decay)


def apparent_rate(model: str, design: LabelDesign, cbf, tissue_t1_s):
    """Apparent relaxation rate r of label in tissue, 1/s, and its derivative with respect to CBF.

    Args:
        model: ``consensus`` (1/T1b) or ``general_kinetic`` (1/T1 + f/λ).
        design: gives the T1 of blood and λ.
        cbf: perfusion, ml/100g/min.
        tissue_t1_s: T1 of tissue, s (general kinetic model only).

    Raises:
        SettingError: another model.
    """
    if model == CONSENSUS:
        return 1 / design.blood_t1_s + 0 * cbf, 0.0
    if model == GENERAL_KINETIC:
        slope = 1 / (CBF_UNIT * design.partition)
        return 1 / tissue_t1_s + cbf * slope, slope
    raise SettingError("Unknown kinetic model", found=model, allowed=", ".join(MODELS))


def difference_signals(design: LabelDesign, cbf, att_s, *, model=CONSENSUS, tissue_t1_s=1.3, delay_offset_s=0.0):
    """Difference signal ΔM/M0 of every volume, (volumes, *shape of att_s).

    Args:
        design: the volumes.
        cbf: perfusion, ml/100g/min, any shape.
        att_s: arterial transit time, s, same shape.
        model: ``consensus`` or ``general_kinetic``.
        tissue_t1_s: T1 of tissue, s (general kinetic model only).
        delay_offset_s: added to all delays, s.
    """
    cbf, att_s = as_arrays(cbf, att_s)
    rate, _ = apparent_rate(model, design, cbf, tissue_t1_s)
    return cbf / CBF_UNIT * responses(design, att_s, rate, delay_offset_s, by_rate=False).value


def signal_jacobian(design: LabelDesign, cbf, att_s, *, model=CONSENSUS, tissue_t1_s=1.3, delay_offset_s=0.0):
    """Difference signal and its derivatives: (ΔM/M0, d/dCBF per ml/100g/min, d/dATT per s).

    Arguments as in :func:`difference_signals`; each result is (volumes, *shape of att_s).
    """
    cbf, att_s = as_arrays(cbf, att_s)
    rate, slope = apparent_rate(model, design, cbf, tissue_t1_s)
    response = responses(design, att_s, rate, delay_offset_s, by_rate=slope > 0)
    flow = cbf / CBF_UNIT
    by_cbf = response.value / CBF_UNIT
    if slope > 0:
        by_cbf = by_cbf + flow * slope * response.by_rate
    return flow * response.value, by_cbf, flow * response.by_att


def cramer_rao_sd(design: LabelDesign, cbf, att_s, noise_sd, *, arterial_arrival_s=None, **model) -> tuple:
    """Smallest standard deviation that any unbiased estimate of CBF and ATT can have.

    The square root of the diagonal of the inverse Fisher information Jᵀ J / σ²; infinite where the data do not
    determine a parameter.

    Args:
        design: the volumes, each with the same noise.
        cbf: true perfusion, ml/100g/min.
        att_s: true transit time, s.
        noise_sd: σ of one difference volume relative to M0.
        arterial_arrival_s: arrival in the artery, s, where arterial blood volume is estimated as well.
        model: ``model``, ``tissue_t1_s``, ``delay_offset_s`` as in :func:`signal_jacobian`.

    Returns:
        sd of CBF (ml/100g/min), of ATT (s), and of arterial blood volume (ml/ml) where it is estimated.
    """
    _, by_cbf, by_att = signal_jacobian(design, cbf, att_s, **model)
    columns = [by_cbf, by_att]
    if arterial_arrival_s is not None:
        columns.append(arterial_responses(design, arterial_arrival_s, model.get("delay_offset_s", 0.0)) + 0 * by_cbf)
    return tuple(noise_sd * variance**0.5 for variance in inverse_diagonal(columns))


def inverse_diagonal(columns: Sequence) -> list:
    """Diagonal of (JᵀJ)⁻¹ for a Jacobian given by its columns, each (volumes, ...); infinite where singular.

    An entry is one over what is left of its column after the others are projected out: the last pivot of JᵀJ.
    """
    xp = array_namespace(columns[0])
    count = len(columns)
    gram = {(i, j): (columns[i] * columns[j]).sum(0) for i in range(count) for j in range(i + 1)}
    gram |= {(j, i): value for (i, j), value in gram.items()}
    found = []
    for index in range(count):
        left = _last_pivot(gram, [other for other in range(count) if other != index] + [index])
        determined = left > SINGULAR * gram[index, index]
        found.append(xp.where(determined, 1 / xp.where(determined, left, 1 + 0 * left), np.inf + 0 * left))
    return found


def _last_pivot(gram: dict, order: Sequence[int]):
    """Last pivot of the elimination of a symmetric matrix in an order; rows without a pivot are left out."""
    rest = {(i, j): gram[i, j] for i in order for j in order}
    for position, pivot in enumerate(order[:-1]):
        empty = rest[pivot, pivot] <= SINGULAR * gram[pivot, pivot]
        xp = array_namespace(rest[pivot, pivot])
        inverse = xp.where(empty, 0.0, 1 / xp.where(empty, 1.0, rest[pivot, pivot]))
        for i in order[position + 1 :]:
            for j in order[position + 1 :]:
                rest[i, j] = rest[i, j] - rest[i, pivot] * rest[pivot, j] * inverse
    return rest[order[-1], order[-1]]


def _pulsed(att_s, delay_s, duration_s, rate, blood_t1_s, by_rate) -> Response:
    return bolus_response(att_s, duration_s, delay_s, rate, blood_t1_s, 1, 0, by_rate)


def _velocity(att_s, delay_s, duration_s, rate, blood_t1_s, by_rate) -> Response:
    """Label is everywhere at once, and the transit time bounds the bolus: arrival 0, duration ATT [3]."""
    return bolus_response(0 * att_s, att_s, delay_s, rate, blood_t1_s, 0, 1, by_rate)


_RESPONDERS: dict[str, Callable] = {
    CONTINUOUS: continuous_response,
    PULSED: _pulsed,
    VELOCITY: _velocity,
}


def _rows(offset, volumes: Sequence[int], like):
    """Delay offsets of some volumes: all of them, unless there is a row for each."""
    return offset[volumes] if getattr(offset, "ndim", 0) > len(like.shape) and len(offset) > 1 else offset


def _columns(design: LabelDesign, volumes, like) -> tuple:
    chosen = list(volumes)
    return _columns_of((design.delay_s[chosen], design.duration_s[chosen], design.efficiency[chosen]), like)


def _columns_of(arrays, like) -> tuple:
    """Arrays of one number per volume as columns that broadcast against ``like`` behind them, in its library."""
    shaped = (np.asarray(one, dtype=np.float64).reshape(-1, *[1] * len(like.shape)) for one in arrays)
    return as_arrays(like, *shaped)[1:] if array_namespace(like) is not np else tuple(shaped)


def _in_order(arrays, order: Sequence[int]):
    if arrays[0] is None or len(arrays) == 1:
        return arrays[0]
    joined = array_namespace(*arrays).concatenate(arrays)
    return joined if order == sorted(order) else joined[list(np.argsort(order))]
