"""Write the card of the package that predicts in this study as a page."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.training.card import write_card_page

        write_card_page(smk.input.package, smk.output.page)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
