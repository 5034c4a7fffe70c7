"""Misplace the M0 image of a simulated subject and measure what its registration leaves of it."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.asl_registration import run_asl_registration

        run_asl_registration(
            smk.output.table,
            subject=smk.wildcards.subject,
            session=smk.wildcards.session,
            head=smk.params.head,
            protocol=smk.params.protocol,
            anatomy=smk.params.anatomy,
            engine=smk.params.engine,
            settings=smk.params.settings,
            seed=smk.params.seed,
            threads=smk.threads,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
