"""Compare a plain tensor of the uncorrected series with the maps that the scanner exported."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.scanner_maps import compare_scanner_maps

        compare_scanner_maps(
            smk.input.dwi,
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
