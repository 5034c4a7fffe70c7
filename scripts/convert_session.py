"""Convert one session's DICOM series to BIDS."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from pathlib import Path

        from scan2map.bids.convert import Conversion, convert_session

        job = Conversion(
            source=Path(smk.params.source),
            subject=smk.wildcards.subject,
            session=smk.wildcards.session,
            bids=Path(smk.params.bids),
            remove_metadata=tuple(smk.params.remove_metadata),
        )
        convert_session(job, smk.input.bidsmap, smk.output.record)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
