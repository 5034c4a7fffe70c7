"""Undo susceptibility distortion, head motion and eddy currents of the diffusion series in one interpolation."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.dwi.correct import correct_motion

        correct_motion(
            dwi=smk.input.dwi,
            bval=smk.input.bval,
            bvec=smk.input.bvec,
            acquisition=smk.input.acquisition,
            fieldmap=smk.input.fieldmap,
            mask=smk.input.mask,
            settings=smk.params.settings,
            device=smk.params.device,
            seed=smk.params.seed,
            output=smk.output,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
