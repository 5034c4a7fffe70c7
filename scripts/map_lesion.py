"""Bring the expert's lesion mask onto the grid of the MRI."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.ctmr.steps import map_lesion

        map_lesion(smk.input.lesion, smk.input.grid, output=smk.output.lesion)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
