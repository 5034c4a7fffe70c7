"""Compare the mean difference image with the perfusion-weighted image that the scanner exported."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.asl_scanner import compare_scanner_perfusion

        compare_scanner_perfusion(
            smk.input.deltam,
            smk.input.mask,
            smk.input.record,
            smk.params.source,
            smk.output.table,
            subject=smk.wildcards.subject,
            session=smk.wildcards.session,
            settings=smk.params.settings,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
