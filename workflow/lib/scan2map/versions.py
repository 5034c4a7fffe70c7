"""The version of every step. Raise a step's number when a change alters its numbers (and say so in CHANGELOG).

Snakemake does not see edits in this library: the rules pass ``STEP_VERSIONS[rule]`` as a parameter, so a new
number makes old results old.
"""

from __future__ import annotations

STEP_VERSIONS: dict[str, int] = {
    "estimate_field": 2,
    "correct_motion": 3,
    "prepare_asl": 2,
    "quantify_cbf": 2,
    "train_asl_quantnet": 2,
    "predict_asl_quantnet": 2,
    "quantify_multidelay": 2,
    "run_asl_experiment": 2,
    "compare_prediction": 2,
    "build_dwi_vae": 2,
    "evaluate_dwi_vae": 2,
    "plot_dwi_vae": 2,
    "train_asl_denoise": 2,
    "predict_asl_denoise": 2,
    "evaluate_asl_denoise": 2,
    "plot_denoised": 2,
    "tabulate_denoising": 2,
    "prepare_fusion": 2,
    "train_ctmr_fusion": 3,
    "predict_ctmr_fusion": 3,
    "evaluate_ctmr_fusion": 3,
    "train_bssfp_dti": 2,
    "evaluate_bssfp_dti": 2,
    "predict_bssfp_dti": 2,
    "plot_bssfp_dti": 2,
}


def step_version(rule: str) -> int:
    """The version of the step that a rule runs; 1 until its numbers change for the first time."""
    return STEP_VERSIONS.get(rule, 1)
