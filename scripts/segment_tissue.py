"""Remove the bias field of the T1w image and map its tissues."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.anat.tissue import segment_tissue_files

        segment_tissue_files(
            list(smk.input.t1w),
            smk.input.mask,
            smk.params.settings,
            preproc=smk.output.preproc,
            csf=smk.output.csf,
            gm=smk.output.gm,
            wm=smk.output.wm,
            dseg=smk.output.dseg,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
