"""Bring the phase-cycled series and the T1w image onto the diffusion grid."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.bssfp.steps import align_bssfp

        align_bssfp(
            magnitude=smk.input.magnitude,
            phase=smk.input.phase,
            t1w=smk.input.t1w,
            t1w_mask=smk.input.t1w_mask,
            dwi_mask=smk.input.dwi_mask,
            dwi_to_t1w=smk.input.dwi_to_t1w,
            seed=smk.params.seed,
            output=smk.output,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
