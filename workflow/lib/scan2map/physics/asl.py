"""Arterial spin labelling: difference signals per unit of tissue magnetisation, and consensus quantification.

Units: CBF in ml/100g/min, times in s, difference signals relative to M0 (the fully relaxed tissue signal).
The arterial magnetisation is taken as M0 divided by the partition coefficient.

References:
    [1] Alsop et al., Magn Reson Med 73:102 (2015), recommended implementation of perfusion ASL.
    [2] Buxton et al., Magn Reson Med 40:383 (1998), general kinetic model.
    [3] Qin et al., Magn Reson Med 88:1528 (2022), velocity-selective ASL guidelines.
"""

from __future__ import annotations

import math

from scan2map.physics.backend import array_namespace, as_arrays

BLOOD_T1_3T_S = 1.65  # [1], table 2
PARTITION_COEFFICIENT_ML_PER_G = 0.9  # [1], table 2
PCASL_EFFICIENCY = 0.85  # [1], table 2
PASL_EFFICIENCY = 0.98  # [1], table 2
VSASL_EFFICIENCY = 0.56  # [3], velocity-selective saturation
SUPPRESSION_PULSE_EFFICIENCY = 0.95  # per background-suppression inversion; Garcia et al., MRM 54:366 (2005)
CBF_UNIT = 6000.0  # ml/100g/min per ml/g/s


def labelling_efficiency(efficiency: float, suppression_pulses: int = 0) -> float:
    """Effective labelling efficiency α·0.95ⁿ after n background-suppression pulses.

    The exponent is the number of pulses that the labelled blood sees (4 for a usual PCASL, 3 for VSASL).
    """
    return efficiency * SUPPRESSION_PULSE_EFFICIENCY**suppression_pulses


def pcasl_difference(
    cbf, att_s, pld_s, label_duration_s, *, efficiency=PCASL_EFFICIENCY, blood_t1_s=BLOOD_T1_3T_S,
    partition=PARTITION_COEFFICIENT_ML_PER_G,
):  # fmt: skip
    """PCASL difference signal, one compartment, label decaying with the T1 of blood.

    ΔM/M0 = 2 α (f/λ) T1b · g with f in ml/g/s and
    g = e^(−PLD/T1b) (1 − e^(−τ/T1b))      for PLD ≥ ATT,
    g = e^(−ATT/T1b) − e^(−(τ+PLD)/T1b)    for ATT − τ ≤ PLD < ATT, else 0 [1, 2].

    Args:
        cbf: perfusion, ml/100g/min.
        att_s: arterial transit time, s.
        pld_s: post-labelling delay, s.
        label_duration_s: label duration τ, s.
        efficiency: labelling efficiency α including background suppression.
        blood_t1_s: T1 of arterial blood, s.
        partition: blood-brain partition coefficient λ, ml/g.

    Returns:
        ΔM/M0, arguments broadcast against each other.
    """
    xp = array_namespace(cbf, att_s, pld_s, label_duration_s, efficiency, blood_t1_s)
    cbf, att_s, pld_s, tau, alpha, t1b = as_arrays(cbf, att_s, pld_s, label_duration_s, efficiency, blood_t1_s)
    first = xp.maximum(att_s, pld_s)
    last = tau + pld_s
    window = xp.exp(-first / t1b) - xp.exp(-last / t1b)
    return 2 * alpha * cbf / (CBF_UNIT * partition) * t1b * xp.where(last > att_s, window, xp.zeros_like(window))


def vsasl_difference(
    cbf, att_s, inversion_time_s, *, efficiency=VSASL_EFFICIENCY, blood_t1_s=BLOOD_T1_3T_S,
    partition=PARTITION_COEFFICIENT_ML_PER_G,
):  # fmt: skip
    """VSASL difference signal with a spatially bounded bolus.

    ΔM/M0 = 2 α (f/λ) min(TI, ATT) e^(−TI/T1b): label is created everywhere, so there is no transit delay, and the
    transit time bounds how much labelled blood there is to arrive [3].

    Args:
        cbf: perfusion, ml/100g/min.
        att_s: time until the labelled blood has all arrived, s.
        inversion_time_s: delay between labelling and readout, s.
        efficiency: labelling efficiency α including background suppression.
        blood_t1_s: T1 of arterial blood, s.
        partition: blood-brain partition coefficient λ, ml/g.
    """
    xp = array_namespace(cbf, att_s, inversion_time_s, efficiency, blood_t1_s)
    cbf, att_s, delay, alpha, t1b = as_arrays(cbf, att_s, inversion_time_s, efficiency, blood_t1_s)
    return 2 * alpha * cbf / (CBF_UNIT * partition) * xp.minimum(delay, att_s) * xp.exp(-delay / t1b)


def _apparent_t1(cbf, tissue_t1_s, partition):
    return 1 / (1 / tissue_t1_s + cbf / (CBF_UNIT * partition))


def pcasl_difference_kinetic(
    cbf, att_s, pld_s, label_duration_s, tissue_t1_s, *, efficiency=PCASL_EFFICIENCY, blood_t1_s=BLOOD_T1_3T_S,
    partition=PARTITION_COEFFICIENT_ML_PER_G,
):  # fmt: skip
    """PCASL difference signal of the general kinetic model: label decays with tissue T1 after arrival.

    With t = τ + PLD and 1/T1' = 1/T1 + f/λ [2, eq. 5]:
    ΔM/M0 = 2 α (f/λ) T1' e^(−ATT/T1b) (1 − e^(−(t−ATT)/T1'))                 while the bolus arrives,
    ΔM/M0 = 2 α (f/λ) T1' e^(−ATT/T1b) e^(−(t−τ−ATT)/T1') (1 − e^(−τ/T1'))    afterwards.

    Args:
        tissue_t1_s: longitudinal relaxation time of tissue, s; the others as in :func:`pcasl_difference`.
    """
    xp = array_namespace(cbf, att_s, pld_s, tissue_t1_s, label_duration_s, efficiency, blood_t1_s)
    cbf, att_s, pld_s, tissue_t1_s, tau, alpha, t1b = as_arrays(
        cbf, att_s, pld_s, tissue_t1_s, label_duration_s, efficiency, blood_t1_s
    )
    t1 = _apparent_t1(cbf, tissue_t1_s, partition)
    since_end = xp.maximum(pld_s - att_s, xp.zeros_like(pld_s - att_s))
    since_start = xp.maximum(tau + pld_s - att_s, xp.zeros_like(since_end))
    arrived = xp.exp(-since_end / t1) - xp.exp(-since_start / t1)
    return 2 * alpha * cbf / (CBF_UNIT * partition) * t1 * xp.exp(-att_s / t1b) * arrived


def pasl_difference_kinetic(
    cbf, att_s, inversion_time_s, bolus_duration_s, tissue_t1_s, *, efficiency=PASL_EFFICIENCY,
    blood_t1_s=BLOOD_T1_3T_S, partition=PARTITION_COEFFICIENT_ML_PER_G,
):  # fmt: skip
    """PASL difference signal of the general kinetic model (QUIPSS II: the bolus duration is TI1).

    With k = 1/T1b − 1/T1' and 1/T1' = 1/T1 + f/λ [2, eq. 3]:
    ΔM/M0 = 2 α (f/λ) e^(−TI/T1') (e^(−k·ATT) − e^(−k·u)) / k, u = min(TI, ATT + bolus), for TI > ATT, else 0.

    Args:
        inversion_time_s: TI, s.
        bolus_duration_s: duration of the bolus, s; the others as in :func:`pcasl_difference_kinetic`.
    """
    xp = array_namespace(cbf, att_s, inversion_time_s, tissue_t1_s, bolus_duration_s, efficiency, blood_t1_s)
    cbf, att_s, delay, tissue_t1_s, bolus, alpha, t1b = as_arrays(
        cbf, att_s, inversion_time_s, tissue_t1_s, bolus_duration_s, efficiency, blood_t1_s
    )
    t1 = _apparent_t1(cbf, tissue_t1_s, partition)
    rate = 1 / t1b - 1 / t1
    arrival = xp.minimum(xp.maximum(delay - att_s, xp.zeros_like(delay - att_s)), bolus)
    flat = xp.abs(rate) < 1e-7  # equal T1: the limit of (1 - e^(-k x)) / k is x
    safe = xp.where(flat, xp.ones_like(rate), rate)
    integral = xp.where(flat, arrival, -xp.expm1(-safe * arrival) / safe)
    return 2 * alpha * cbf / (CBF_UNIT * partition) * xp.exp(-delay / t1 - rate * att_s) * integral


def cbf_from_pcasl(
    difference, m0, pld_s, label_duration_s, *, efficiency=PCASL_EFFICIENCY, blood_t1_s=BLOOD_T1_3T_S,
    partition=PARTITION_COEFFICIENT_ML_PER_G,
):  # fmt: skip
    """Perfusion from a single-delay PCASL experiment [1, eq. 1].

    CBF = 6000 λ ΔM e^(PLD/T1b) / (2 α T1b M0 (1 − e^(−τ/T1b))), in ml/100g/min.

    Args:
        difference: control minus label, in the units of ``m0``.
        m0: proton-density image (fully relaxed).
        pld_s: post-labelling delay, s; per slice for a 2-D readout.
        label_duration_s: τ, s.
        efficiency: labelling efficiency α including background suppression.
        blood_t1_s: T1 of arterial blood, s.
        partition: blood-brain partition coefficient λ, ml/g.
    """
    xp = array_namespace(difference, m0, pld_s)
    difference, m0, pld_s = as_arrays(difference, m0, pld_s)
    decay = 2 * efficiency * blood_t1_s * (1 - math.exp(-label_duration_s / blood_t1_s))
    return CBF_UNIT * partition * difference * xp.exp(pld_s / blood_t1_s) / (decay * m0)


def cbf_from_pasl(
    difference, m0, inversion_time_s, bolus_duration_s, *, efficiency=PASL_EFFICIENCY, blood_t1_s=BLOOD_T1_3T_S,
    partition=PARTITION_COEFFICIENT_ML_PER_G,
):  # fmt: skip
    """Perfusion from a QUIPSS II PASL experiment [1, eq. 2].

    CBF = 6000 λ ΔM e^(TI/T1b) / (2 α TI1 M0), in ml/100g/min.

    Args:
        inversion_time_s: TI, s.
        bolus_duration_s: TI1, s; the others as in :func:`cbf_from_pcasl`.
    """
    xp = array_namespace(difference, m0, inversion_time_s)
    difference, m0, delay = as_arrays(difference, m0, inversion_time_s)
    return CBF_UNIT * partition * difference * xp.exp(delay / blood_t1_s) / (2 * efficiency * bolus_duration_s * m0)


def cbf_from_vsasl(
    difference, m0, inversion_time_s, *, efficiency=VSASL_EFFICIENCY, blood_t1_s=BLOOD_T1_3T_S,
    partition=PARTITION_COEFFICIENT_ML_PER_G,
):  # fmt: skip
    """Perfusion from a single-delay VSASL experiment whose labelled blood is still arriving at the readout [3].

    CBF = 6000 λ ΔM e^(TI/T1b) / (2 α TI M0), in ml/100g/min: the bolus is as long as the delay.

    Args:
        inversion_time_s: TI from labelling to readout, s; the others as in :func:`cbf_from_pcasl`.
    """
    return cbf_from_pasl(
        difference, m0, inversion_time_s, inversion_time_s,
        efficiency=efficiency, blood_t1_s=blood_t1_s, partition=partition,
    )  # fmt: skip
