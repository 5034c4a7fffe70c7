"""Summarise every map of a session over tissues and atlas regions."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.roi_table import tabulate_rois

        tabulate_rois(
            dict(smk.input.items()),
            smk.output.table,
            subject=smk.wildcards.subject,
            session=smk.wildcards.session,
            settings=smk.params.settings,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
