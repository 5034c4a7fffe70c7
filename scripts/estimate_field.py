"""Estimate the off-resonance field from b = 0 images with opposed phase encoding."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.dwi.fieldmap_files import estimate_field_files

        estimate_field_files(
            epi=smk.input.epi,
            acquisition=smk.input.acquisition,
            settings=smk.params.settings,
            device=smk.params.device,
            threads=smk.threads,
            output=smk.output,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
