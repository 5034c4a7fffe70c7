"""Correct a series with several delays for head motion and bring it onto the grid of the single-delay scan."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.asl.multidelay_motion import align_delay_series_files

        align_delay_series_files(
            smk.input.series,
            smk.input.labelling,
            smk.input.m0,
            smk.input.mask,
            smk.params.seed,
            preproc=smk.output.preproc,
            offsets=smk.output.offsets,
            timing=smk.output.timing,
            motion=smk.output.motion,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
