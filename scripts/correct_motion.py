"""Undo susceptibility distortion, head motion and eddy currents of the diffusion series in one interpolation."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.dwi.engine import correct_motion

        correct_motion(
            files={
                "dwi": smk.input.dwi,
                "bval": smk.input.bval,
                "bvec": smk.input.bvec,
                "acquisition": smk.input.acquisition,
                "fieldmap": smk.input.fieldmap,
                "mask": smk.input.mask,
            },
            runs=smk.input.runs,
            settings=smk.params.settings,
            device=smk.params.device,
            seed=smk.params.seed,
            threads=smk.threads,
            output=smk.output,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
