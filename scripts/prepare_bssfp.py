"""Take the scanner's phase conventions and Gibbs ringing out of the phase-cycled series."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.bssfp.steps import prepare_bssfp

        prepare_bssfp(smk.input.magnitude, smk.input.phase, smk.params.settings, output=smk.output)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
