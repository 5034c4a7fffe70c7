"""Bring a subject's own label image onto the grid of its T1w image."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.anat.native_atlas import map_native_atlas_files

        map_native_atlas_files(smk.input.atlas, smk.input.mask, labels=smk.output.labels)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
