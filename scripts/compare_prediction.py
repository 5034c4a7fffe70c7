"""Compare predicted maps of a session with conventional estimates and, where it is known, with the truth."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.predictions import compare_prediction

        compare_prediction(
            smk.input.maps,
            dict(smk.input.items()),
            smk.output.table,
            system=smk.wildcards.system,
            subject=smk.wildcards.subject,
            session=smk.wildcards.session,
            threshold=smk.params.threshold,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
