"""Networks from an image of one of several modalities to a diffusion tensor image.

Their common face: ``network(image, modality)`` with image (batch, channels of the modality, x, y, z) gives the six
elements of a tensor representation (batch, 6, x, y, z). A network with a prior reads, in twelve more channels behind
those of the modality, where a voxel lies in the template and how it is turned there.

References:
    [1] Ronneberger et al. 2015, MICCAI 9351:234; Falk et al. 2019, Nat Methods 16:67 (MONAI's BasicUNet).
    [2] Isola et al. 2017, CVPR 1125 (conditional GAN, patch discriminator).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets import BasicUNet
from torch import nn
from torch.nn import functional

from scan2map.physics.diffusion import tensor_elements, tensor_matrix

ELEMENTS = 6
ACTIVATION = ("PRELU", {"init": 0.25})
PLACE_CHANNELS = 3
SHIFT = 0.05  # a network value of 1 moves the prior by this much of half the template's box, about 5 mm
DIRECT_GAIN = 8.0  # weights that begin at zero and must become one move by the learning rate in a step
MIDDLE = 0.5  # of a representation scaled to 0 to 1: no off-diagonal elements, from where a network starts
DEEPEST_FACTOR = 16  # BasicUNet halves the image four times: sides must be multiples of this


class InputHead(nn.Module):
    """A residual block of three convolutions from a modality's channels to those of the shared body.

    Args:
        channels: of the modality.
        width: of what the body reads.
        norm: ``batch`` or ``instance``; instance normalisation makes a voxel's result depend on the whole patch.
    """

    def __init__(self, channels: int, width: int, norm: str):
        super().__init__()
        widths = (channels, width, width, width)
        activations = ("RELU", "RELU", None)
        self.convolutions = nn.Sequential(
            *(
                Convolution(3, entering, leaving, act=activation, norm=norm, bias=False)
                for entering, leaving, activation in zip(widths[:-1], widths[1:], activations, strict=True)
            )
        )
        self.shortcut = nn.Conv3d(channels, width, 1) if channels != width else nn.Identity()
        self._begin_as_shortcut(channels < width)

    def _begin_as_shortcut(self, fits: bool) -> None:
        """The convolutions begin as nothing; a shortcut that has room begins by handing the channels on."""
        if (scale := self.convolutions[-1].adn.N.weight) is not None:
            nn.init.zeros_(scale)
        if fits:
            nn.init.dirac_(self.shortcut.weight)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(batch, channels, x, y, z) to (batch, width, x, y, z)."""
        return functional.relu(self.convolutions(image) + self.shortcut(image))


class TensorGenerator(nn.Module):
    """One input head per modality on a shared U-Net body [1].

    With a prior, the body reads it beside the image, and what it gives is three elements of a shift and six of a
    correction: the result is the prior at the place that the shift points to, corrected. So the network can mend a
    registration by what it sees, which convolutions of the prior would have to learn for every contrast. A linear
    map of the head's features and the prior, one per modality, goes straight to the result, past all normalisation:
    what is linear is learned first.

    Args:
        channels: of each modality.
        head_width: channels between heads and body.
        widths: features of the five levels and of the last layer, as MONAI's BasicUNet.
        norm, head_norm: normalisation of the body and of the heads, ``batch`` or ``instance``.
        dropout: share of features dropped in the body.
        prior: the mean brain that the body corrects; ``None`` for none.
    """

    staged = True  # heads can be trained apart from the body

    def __init__(
        self,
        channels: Mapping[str, int],
        head_width: int,
        widths: Sequence[int],
        norm: str,
        head_norm: str,
        dropout: float,
        prior: MeanBrain | None = None,
    ):
        super().__init__()
        self.channels, self.prior = dict(channels), prior
        bright, more = (0, 0) if prior is None else (1, PLACE_CHANNELS + ELEMENTS)
        self.heads = nn.ModuleDict(
            {name: InputHead(count + bright, head_width, head_norm) for name, count in channels.items()}
        )
        self.body = BasicUNet(
            spatial_dims=3, in_channels=head_width + more, out_channels=ELEMENTS + bright * PLACE_CHANNELS,
            features=tuple(widths), act=ACTIVATION, norm=norm, dropout=dropout,
        )  # fmt: skip
        nn.init.constant_(self.body.final_conv.bias, MIDDLE if prior is None else 0)
        self.direct = nn.ModuleDict(
            {name: nn.Conv3d(head_width + ELEMENTS, ELEMENTS, 1, bias=False) for name in channels} if bright else {}
        )
        for last in (*self.direct.values(), *([self.body.final_conv] if bright else [])):
            nn.init.zeros_(last.weight)

    def expected(self, image: torch.Tensor, modality: str) -> torch.Tensor | None:
        """What the prior says at the image's places (batch, 6, x, y, z); ``None`` without a prior."""
        return None if self.prior is None else self.prior(image[:, self.channels[modality] :])[0]

    def forward(self, image: torch.Tensor, modality: str) -> torch.Tensor:
        """Tensor representation (batch, 6, x, y, z); sides must be multiples of 16."""
        image = image.contiguous(memory_format=torch.channels_last_3d)
        count = self.channels[modality]
        if self.prior is None:
            return self.body(self.heads[modality](image))
        place = image[:, count:]
        expected, light = self.prior(place)
        features = self.heads[modality](torch.cat([image[:, :count], light], dim=1))
        found = self.body(torch.cat([features, place[:, :PLACE_CHANNELS], expected], dim=1))
        moved = place[:, :PLACE_CHANNELS] + SHIFT * found[:, ELEMENTS:]
        centred = torch.cat([features, expected], dim=1) - MIDDLE
        correction = found[:, :ELEMENTS] + DIRECT_GAIN * self.direct[modality](centred)
        return self.prior(torch.cat([moved, place[:, PLACE_CHANNELS:]], dim=1))[0] + correction


class VoxelwiseNetwork(nn.Module):
    """A multi-layer perceptron on the channels of each voxel alone: no neighbours, no anatomy (a baseline).

    Args:
        channels: of each modality.
        width: hidden features.
    """

    staged, prior = False, None

    def __init__(self, channels: Mapping[str, int], width: int):
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Conv3d(count, width, 1) for name, count in channels.items()})
        self.body = nn.Sequential(
            nn.PReLU(), nn.Conv3d(width, width, 1), nn.PReLU(), nn.Conv3d(width, width, 1), nn.PReLU(),
            nn.Conv3d(width, ELEMENTS, 1),
        )  # fmt: skip

    def forward(self, image: torch.Tensor, modality: str) -> torch.Tensor:
        """Tensor representation (batch, 6, x, y, z)."""
        return self.body(self.heads[modality](image))


class MeanBrain(nn.Module):
    """Mean tensors and brightness of many heads in template space, read where a voxel lies in the template.

    Args:
        lattice: six elements (of the tensor or its logarithm, in the axes of the template) and brightness
            (7, x, y, z); it spans −1 to 1 of the template coordinates.
        low, span: what scales the elements to a representation, (6, 1, 1, 1) each.
        turned: whether the elements turn with the way from the head to the template.
        learned: whether the values are parameters; else they are constants that are not saved with the weights.
    """

    def __init__(self, lattice: torch.Tensor, low: torch.Tensor, span: torch.Tensor, turned: bool, learned: bool):
        super().__init__()
        if learned:
            self.lattice = nn.Parameter(lattice[None].clone())
        else:
            self.register_buffer("lattice", lattice[None].clone(), persistent=False)
        self.register_buffer("low", low.clone(), persistent=False)
        self.register_buffer("span", span.clone(), persistent=False)
        self.turned = turned

    def forward(self, place: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Representation (batch, 6, x, y, z) and brightness (batch, 1, x, y, z).

        Args:
            place: template coordinates, each −1 to 1, and the turn to the template's axes (batch, 12, x, y, z).
        """
        points = place[:, :PLACE_CHANNELS].float().movedim(1, -1).flip(-1)
        lattice = self.lattice.expand(len(place), -1, -1, -1, -1)
        values = functional.grid_sample(lattice, points, padding_mode="border", align_corners=True)
        elements = values[:, :ELEMENTS]
        if self.turned:
            elements = turned_back(elements, place[:, PLACE_CHANNELS:].float())
        return (elements - self.low) / self.span, values[:, ELEMENTS:]


def turned_back(elements: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Symmetric matrices (batch, 6, x, y, z) turned by the inverse of each voxel's rotation (batch, 9, …): Tᵀ D T."""
    turn = turns.movedim(1, -1).unflatten(-1, (3, 3))
    matrices = turn.mT @ tensor_matrix(elements.movedim(1, -1)) @ turn
    return tensor_elements(matrices).movedim(-1, 1)


class TemplateTensor(nn.Module):
    """The mean brain alone (a baseline that sees no signal).

    Its values are learned: an L1 loss over the training subjects makes them the median representation.

    Args:
        brain: to begin from.
    """

    staged, prior = False, None

    def __init__(self, brain: MeanBrain):
        super().__init__()
        self.brain = brain

    def forward(self, image: torch.Tensor, modality: str) -> torch.Tensor:
        """Representation (batch, 6, x, y, z) at places (batch, 12, x, y, z); ``modality`` is ignored."""
        return self.brain(image)[0]


class TensorFeatures(nn.Module):
    """A small autoencoder of tensor images; what its encoder sees is the perceptual distance of two of them.

    Args:
        width: features of the finest level.
    """

    def __init__(self, width: int):
        super().__init__()
        steps = ((ELEMENTS, width, 1), (width, 2 * width, 2), (2 * width, 2 * width, 2))
        self.levels = nn.ModuleList(
            Convolution(3, entering, leaving, strides=stride, act="PRELU", norm=None)
            for entering, leaving, stride in steps
        )
        self.decoder = nn.Sequential(
            Convolution(3, 2 * width, 2 * width, strides=2, act="PRELU", norm=None, is_transposed=True),
            Convolution(3, 2 * width, width, strides=2, act="PRELU", norm=None, is_transposed=True),
            nn.Conv3d(width, ELEMENTS, 3, padding=1),
        )

    def features(self, tensors: torch.Tensor) -> list[torch.Tensor]:
        """Features of every level."""
        found = []
        for level in self.levels:
            tensors = level(tensors)
            found.append(tensors)
        return found

    def forward(self, tensors: torch.Tensor) -> torch.Tensor:
        """Reconstructed tensors; sides must be multiples of 4."""
        return self.decoder(self.features(tensors)[-1])
