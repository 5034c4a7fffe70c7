"""Bring the regions of an atlas onto the T1w image."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.anat.template import map_atlas_files

        map_atlas_files(smk.input.atlas, smk.input.mask, smk.input.transform, labels=smk.output.labels)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
