"""CT and MRI of the head in one image by diffusion that regions guide, with lesion probability and uncertainty."""

from scan2map.training.files import PredictedMap, RailFile
from scan2map.training.system import Description

_IMAGE = {"unit": "1", "label": "Intensity (-2 to 2)", "display": (-2.0, 2.0), "colour_map": "gray"}
_LESION = {"unit": "1", "label": "Lesion probability", "display": (0.0, 1.0), "colour_map": "magma"}

MAPS = (
    PredictedMap(
        "fused", "ctmr", "fusion", description="CT and MRI fused: mean of the drawn images.",
        entities={"desc": "network"}, name_shown="Fused", **_IMAGE,
    ),
    PredictedMap(
        "composite", "ctmr", "fusion", description="Bone of the CT in the MRI, cut hard.",
        entities={"desc": "composite"}, role="baseline", of="fused", **_IMAGE,
    ),
    PredictedMap(
        "fused_sd", "ctmr", "fusion", description="Standard deviation of the fused image.",
        entities={"desc": "networksd"}, role="uncertainty", of="fused",
        **_IMAGE | {"display": (0.0, 0.1), "colour_map": "viridis"},
    ),
    PredictedMap(
        "lesion", "ctmr", "probseg", description="Probability of lesion, from the fused image.",
        entities={"label": "lesion", "desc": "network"}, name_shown="Lesion probability",
        **_LESION,
    ),
    PredictedMap(
        "lesion_sd", "ctmr", "probseg", description="Standard deviation of a label of that probability.",
        entities={"label": "lesion", "desc": "networksd"}, role="uncertainty", of="lesion",
        **_LESION | {"display": (0.0, 0.5)},
    ),
    PredictedMap(
        "mri", "ctmr", "mri", description="MRI that went in.", entities={"desc": "input"}, role="input", of="fused",
        name_shown="MRI", **_IMAGE,
    ),
    PredictedMap(
        "ct", "ctmr", "ct", description="CT that went in, bone window (500/2000 HU).", entities={"desc": "input"},
        role="input", of="fused", name_shown="CT", **_IMAGE,
    ),
    PredictedMap(
        "mask", "ctmr", "mask", description="The head: what the CT shows denser than -500 HU, and what it encloses.",
        entities={"desc": "head"}, role="data", unit="1", label="Head",
    ),
)  # fmt: skip

LIMITS = (
    "Research software. Not a medical device, not for diagnosis: a radiologist reads the CT and the MRI themselves.",
    "Trained on simulated scans alone (digital heads, FLAIR, round lesions without haemorrhage, calcification or mass "
    "effect): not validated in vivo.",
    "The network's plane is coarser than a scanner's; details smaller than its voxel are lost in the fused image.",
    "A fused image can show what neither source shows. The hard composite beside it cannot.",
)


class CtMrFusion:
    """See :class:`scan2map.training.system.System`."""

    description = Description(
        title="CT/MRI fusion (guided diffusion)",
        cohort="phantom",
        modalities=("ctmr",),
        roles=("ct", "flair"),
        inputs={
            "ct": RailFile("ctmr", "ct", entities={"desc": "preproc"}),
            "mri": RailFile("ctmr", "mri", entities={"desc": "normalised"}),
            "brain": RailFile("ctmr", "mask", entities={"desc": "brain"}),
            "bone": RailFile("ctmr", "mask", entities={"desc": "bone"}),
        },
        maps=MAPS,
        intended_use=(
            "Research software, not for diagnosis: a radiologist reads the CT and the MRI themselves. One image with "
            "the soft tissue of a FLAIR and the bone of a CT, a lesion probability and their uncertainty; and the "
            "comparison of guided diffusion with simple fusions."
        ),
        limits=LIMITS,
        viewer=("fused", "mri", "ct", "lesion", "fused_sd"),
    )

    def build_dataset(self, subject, sources, settings, output):
        """Tissue and CT numbers of one digital head."""
        from scan2map.systems.ctmr_fusion.cohort import head_arrays
        from scan2map.training.dataset import save_subject

        save_subject(output, head_arrays(subject, settings), voxel_size_mm=settings["voxel_size_mm"])

    def normalisation(self, train, settings):
        """None: MRI intensities are relative to the brain of each scan, CT numbers are absolute."""
        return {}

    def training_set(self, train, settings, seed):
        """Stacks of slices of scans with random lesions and registration errors."""
        from scan2map.systems.ctmr_fusion.cohort import load_heads
        from scan2map.systems.ctmr_fusion.training import Slabs
        from scan2map.training.stream import Samples

        return Samples(Slabs(load_heads(train), settings), seed)

    def validation_set(self, validation, settings, seed):
        """Fixed stacks of the validation heads, CT and MRI registered."""
        from scan2map.systems.ctmr_fusion.cohort import load_heads
        from scan2map.systems.ctmr_fusion.training import Slabs, registered
        from scan2map.training.stream import First, Samples

        return First(Samples(Slabs(load_heads(validation), registered(settings)), seed), settings["validation_scenes"])

    def network(self, settings, normalisation):
        """Denoiser and lesion heads."""
        from scan2map.systems.ctmr_fusion.training import build_network

        return build_network(settings)

    def module(self, settings, normalisation, training):
        """Its training."""
        from scan2map.systems.ctmr_fusion.training import FusionModule

        return FusionModule(self.network(settings, normalisation), training, settings)

    def acquisition(self, settings):
        """Contrast and slice distance."""
        from scan2map.systems.ctmr_fusion.session import demands

        return demands(settings)

    def read_acquisition(self, inputs):
        """Contrast and slice distance of a session."""
        from scan2map.systems.ctmr_fusion.session import read_acquisition

        return read_acquisition(inputs)

    def predict(self, package, inputs, device):
        """Maps of one session, the hard composite beside them."""
        from scan2map.systems.ctmr_fusion.session import predict_session

        return predict_session(package, inputs, device)

    def evaluate(self, package, test, settings, device):
        """The validation protocol."""
        from scan2map.systems.ctmr_fusion.evaluate import evaluate_members

        trained = package.judged_by(settings)
        return evaluate_members(package.members, test, trained, device)


SYSTEM = CtMrFusion()
