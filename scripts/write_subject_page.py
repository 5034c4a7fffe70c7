"""Write the page of a session: its maps, its numbers, and what is missing."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.reporting.subject_page import write_subject_page

        write_subject_page(
            dict(smk.input.items()),
            smk.output.page,
            subject=smk.wildcards.subject,
            session=smk.wildcards.session,
            inventory=smk.params.inventory,
            series=smk.params.series,
            study=smk.params.study,
            settings=smk.params.settings,
            notes=smk.input.notes,
            systems=smk.params.systems,
            models=list(zip(smk.params.predicted, smk.input.predictions, smk.input.agreements, strict=True)),
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
