"""Microstructure parameters from diffusion MRI by a variational autoencoder that is fitted to the scan itself."""

from scan2map.training.files import PredictedMap, RailFile
from scan2map.training.system import Description

_FRACTION = {"unit": "1", "label": "Stick fraction", "display": (0.0, 0.8), "colour_map": "magma"}
_D = {
    "unit": "mm^2/s",
    "label": "D (10⁻³ mm²/s)",
    "display": (0.0, 3.0),
    "display_scale": 1e3,
    "colour_map": "viridis",
}
_K = {"unit": "1", "label": "K", "display": (0.0, 1.5), "colour_map": "magma"}
_ENTITY = {"MSDKI": "mean-signal kurtosis of shell averages", "BallStick": "ball and stick with one diffusivity"}


def _map(name: str, parameter: str, desc: str, text: str, model: str = "MSDKI", **more) -> PredictedMap:
    entities = {"model": model, "param": parameter, "desc": desc}
    return PredictedMap(name, "dwi", "dwimap", description=f"{text}, {_ENTITY[model]}.", entities=entities, **more)


def _stick(
    name: str, parameter: str, quantity: str, scale: dict, spread: tuple[float, float]
) -> tuple[PredictedMap, ...]:
    """Prediction, maximum likelihood and posterior spread of a parameter of ball and stick."""
    return (
        _map(name, parameter, "vae", f"{quantity}, variational autoencoder", "BallStick", **scale),
        _map(f"{name}_ml", parameter, "likelihood", f"{quantity}, voxel-wise maximum likelihood", "BallStick",
             role="baseline", of=name, **scale),
        _map(f"{name}_sd", parameter, "vaesd", f"Posterior standard deviation: {quantity.lower()}", "BallStick",
             role="uncertainty", of=name, **scale | {"display": spread}),
    )  # fmt: skip


_MD_TRUTH = RailFile("dwi", "dwimap", entities={"model": "cumulant", "param": "MD"}, root="truth")

MAPS = (
    _map("d", "MSD", "vae", "Mean-signal diffusivity, variational autoencoder", truth=_MD_TRUTH, **_D),
    _map("k", "MSK", "vae", "Mean-signal kurtosis, variational autoencoder", **_K),
    _map("d_ml", "MSD", "likelihood", "Mean-signal diffusivity, voxel-wise maximum likelihood", role="baseline",
         of="d", **_D),
    _map("k_ml", "MSK", "likelihood", "Mean-signal kurtosis, voxel-wise maximum likelihood", role="baseline",
         of="k", **_K),
    _map("d_sd", "MSD", "vaesd", "Posterior standard deviation of the diffusivity", role="uncertainty", of="d",
         **_D | {"display": (0.0, 0.3)}),
    _map("k_sd", "MSK", "vaesd", "Posterior standard deviation of the kurtosis", role="uncertainty", of="k",
         **_K | {"display": (0.0, 0.3)}),
    # A scan with a single shell: another signal model, other maps.
    *_stick("f", "F", "Stick fraction", _FRACTION, (0.0, 0.05)),
    *_stick("d_stick", "D", "Diffusivity of ball and stick alike", _D, (0.0, 0.3)),
)  # fmt: skip

LIMITS = (
    "Scored on simulated scans alone (digital heads, Rician noise): not validated in vivo.",
    "Kurtosis needs three b-values, b = 0 included. A scan with a single shell gets the maps of ball and stick with "
    "one diffusivity instead (setting single_shell_model), under their own names.",
    "The kurtosis expansion holds for b below 3/(DK); shells above the setting b_max_s_per_mm2 are left out.",
    "The mixture prior is learned from the scan: tissue that is rare in it is drawn towards common tissue. The "
    "validation table scores voxels outside the clusters that were learned from, and voxels of mixed tissue, apart.",
    "Noise of shell averages is taken as if all directions of a shell had its mean signal. Not for diagnosis.",
)


class DwiVae:
    """See :class:`scan2map.training.system.System`."""

    description = Description(
        title="Diffusion kurtosis (Gaussian-mixture VAE)",
        cohort="phantom",
        modalities=("dwi",),
        inputs={
            "dwi": RailFile("dwi", "dwi", entities={"desc": "preproc"}),
            "bval": RailFile("dwi", "dwi", extension=".bval", entities={"desc": "preproc"}),
            "bvec": RailFile("dwi", "dwi", extension=".bvec", entities={"desc": "preproc"}),
            "mask": RailFile("dwi", "mask", entities={"desc": "brain"}),
        },
        maps=MAPS,
        intended_use=(
            "Research: diffusivity and kurtosis of the direction-averaged signal with their uncertainty from "
            "multi-shell diffusion MRI. A prediction fits the network to the session's own scan; the package holds the "
            "recipe, and networks that were fitted to simulated scans for the validation."
        ),
        limits=LIMITS,
        fits_session=True,
    )

    def build_dataset(self, subject, sources, settings, output):
        """Parameters of one digital head, and of voxels in the paper's clusters."""
        from scan2map.systems.dwi_vae.simulate import build_subject_file

        build_subject_file(subject, settings, output)

    def normalisation(self, train, settings):
        """Mean and spread of what the network sees, and the measurements."""
        from scan2map.systems.dwi_vae.training import facts_of, load_scans

        return facts_of(load_scans(train, settings), settings)

    def training_set(self, train, settings, seed):
        """Blocks of voxels of the training scans."""
        from scan2map.systems.dwi_vae.training import VoxelBlocks, load_scans
        from scan2map.training.stream import Samples

        return Samples(VoxelBlocks(load_scans(train, settings), settings["simulation"]["voxels_per_sample"]), seed)

    def validation_set(self, validation, settings, seed):
        """Fixed blocks of the validation scans."""
        from scan2map.systems.dwi_vae.training import FixedBlocks, VoxelBlocks, load_scans

        size = settings["simulation"]["voxels_per_sample"]
        return FixedBlocks(VoxelBlocks(load_scans(validation, settings), size), seed)

    def network(self, settings, normalisation):
        """The estimator."""
        from scan2map.systems.dwi_vae.estimators import Estimator

        return Estimator(settings, normalisation)

    def module(self, settings, normalisation, training):
        """Its training."""
        from scan2map.systems.dwi_vae.training import VaeModule

        return VaeModule(self.network(settings, normalisation), normalisation, training, settings)

    def acquisition(self, settings):
        """Enough shells and directions for the signal model."""
        from scan2map.systems.dwi_vae.session import demands

        return demands(settings)

    def read_acquisition(self, inputs):
        """Shells and directions of a session."""
        from scan2map.systems.dwi_vae.session import read_acquisition

        return read_acquisition(inputs)

    def predict(self, package, inputs, device, checkpoints=None):
        """Maps of one session, from networks that are fitted to it; voxel-wise maximum likelihood beside them.

        With a folder for ``checkpoints`` an interrupted fit goes on where it was.
        """
        from scan2map.systems.dwi_vae.session import predict_session

        return predict_session(package, inputs, device, checkpoints)

    def evaluate(self, package, test, settings, device):
        """The validation protocol."""
        from scan2map.systems.dwi_vae.evaluate import evaluate_package

        return evaluate_package(package, test, settings, device)


SYSTEM = DwiVae()
