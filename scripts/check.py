"""Say whether everything that the configuration asks for is there."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk) as log:
        from scan2map.doctor import check

        log.info(check(smk.params.config, smk.params.participants))


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
