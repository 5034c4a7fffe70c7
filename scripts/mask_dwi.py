"""Find the brain in the corrected b = 0 image."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.dwi.engine import mask_dwi

        mask_dwi(smk.input.epi, smk.params.settings, mask=smk.output.mask, threads=smk.threads)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
