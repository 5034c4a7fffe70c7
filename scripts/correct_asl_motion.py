"""Correct the ASL series for head motion and bring its M0 image onto it."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.asl.motion import correct_asl_motion_files

        correct_asl_motion_files(
            smk.input.series,
            smk.input.m0scan,
            smk.input.labelling,
            smk.params.seed,
            preproc=smk.output.preproc,
            m0=smk.output.m0,
            motion=smk.output.motion,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
