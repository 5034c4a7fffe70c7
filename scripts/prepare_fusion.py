"""Find bone in the CT and put the MRI's intensities on one scale."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.ctmr.steps import prepare_fusion

        prepare_fusion(smk.input.ct, smk.input.mri, smk.input.brain, smk.params.settings, output=smk.output)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
