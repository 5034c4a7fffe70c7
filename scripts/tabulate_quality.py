"""Collect the quality figures of a session and compare its opposed b = 0 images."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.quality import tabulate_quality

        tabulate_quality(
            dict(smk.input.items()),
            smk.output.table,
            subject=smk.wildcards.subject,
            session=smk.wildcards.session,
            settings=smk.params.settings,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
