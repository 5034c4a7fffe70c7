"""Compare the corrected tensor maps with the maps that the scanner exported."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.dwi_scanner import compare_corrected_maps

        compare_corrected_maps(
            smk.input.fa,
            smk.input.md,
            smk.input.record,
            smk.params.source,
            smk.input.mask,
            smk.output.table,
            subject=smk.wildcards.subject,
            session=smk.wildcards.session,
            settings=smk.params.settings,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
