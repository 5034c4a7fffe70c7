"""Compare field, tensor maps, corrected b = 0 images and time with those of FSL on the same scan."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.dwi_reference import compare_fsl

        compare_fsl(
            dict(smk.input.items()),
            smk.params.benchmarks,
            smk.output.table,
            subject=smk.wildcards.subject,
            session=smk.wildcards.session,
            settings=smk.params.settings,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
