"""Say which sessions run, which do not, and why."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from pathlib import Path

        from scan2map.bids.inventory import InventoryPaths, build_inventory

        tables = (smk.output.inventory, smk.output.series, smk.output.files, smk.output.index)
        build_inventory(
            pairs=[tuple(pair) for pair in smk.params.pairs],
            record_paths=smk.input.records,
            settings=smk.params.settings,
            title=smk.params.title,
            bids=smk.params.bids,
            out=InventoryPaths(*map(Path, tables)),
            asl=smk.params.asl,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
