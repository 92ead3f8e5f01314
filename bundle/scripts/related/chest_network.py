"""The chest-CT multi-task network: one encoder; classification, segmentation, reconstruction and detection heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from ..domain.errors import ConfigurationError
from .chest_classes import CLASSES, LESIONS

TASKS = ("classification", "segmentation", "reconstruction", "detection")
ENCODERS = ("vgg13_bn", "resnet50")
STRIDE = 32

_DECODER_CHANNELS = (256, 128, 64, 32, 16)
_PYRAMID_CHANNELS = 256
_ANCHOR_PIXELS = ((8,), (16,), (32,), (64,), (128,))
_RATIOS = ((0.5, 1.0, 2.0),)


class ChestNetwork(nn.Module):
    """The network of Hryniewska-Guzik, Kędzierska and Biecek (arXiv 2308.01137), in the spirit of its abstract.

    ``forward(image, targets=None)`` returns by task, those without a head absent: ``classification (B, 3)`` logits of
    ``CLASSES``; ``segmentation (B, 2, H, W)`` logits of background and lesion; ``reconstruction (B, 1, H, W)``; and
    ``detection``, in training the sum of Mask R-CNN's five losses, otherwise a list of dicts of ``boxes``, ``scores``
    and ``labels``, as torchvision's; its masks are learned from and not answered.

    Args:
        encoder: one of ``ENCODERS``, without pre-trained weights.
        tasks: of ``TASKS``; the others are not built.
        detection_classes: lesions and background.

    Raises:
        ConfigurationError: an unknown encoder or task, or no task.

    Attributes:
        image_size: the pixels of the network grid that the weights were trained on.
    """

    def __init__(
        self,
        encoder: str = "vgg13_bn",
        tasks: Sequence[str] = TASKS,
        *,
        detection_classes: int = len(LESIONS) + 1,
    ) -> None:
        if encoder not in ENCODERS:
            msg = f"encoder {encoder!r} is none of {', '.join(ENCODERS)}"
            raise ConfigurationError(msg)
        if not tasks or not set(tasks) <= set(TASKS):
            msg = f"tasks is {list(tasks)}; give one or more of {', '.join(TASKS)}"
            raise ConfigurationError(msg)
        super().__init__()
        self.tasks = tuple(task for task in TASKS if task in tasks)
        self.register_buffer("image_size", torch.zeros((), dtype=torch.int64))
        self.encoder = get_encoder(encoder, in_channels=1, depth=5, weights=None)
        channels = self.encoder.out_channels
        if "classification" in tasks:
            self.classify = nn.Linear(channels[-1], len(CLASSES))
        if "segmentation" in tasks:
            self.segment = _decoder(encoder, channels, outputs=2)
        if "reconstruction" in tasks:
            self.reconstruct = _decoder(encoder, channels, outputs=1)
        if "detection" in tasks:
            self.detect = DetectionHead(channels, detection_classes)

    @staticmethod
    def example_inputs(size: int) -> tuple[Tensor]:
        """The inputs of one slice, for counting operations."""
        return (torch.zeros(1, 1, size, size),)

    def forward(self, image: Tensor, targets: list[dict[str, Tensor]] | None = None) -> dict:
        """Slices ``(B, 1, H, W)``, 0 to 1; ``targets`` of ``chest_dataset.sample``, required to train detection.

        Raises:
            ConfigurationError: an image of another shape.
        """
        if image.ndim != 4 or image.shape[1] != 1 or image.shape[2] % STRIDE or image.shape[3] % STRIDE:
            msg = f"Image has shape {list(image.shape)}; give (slices, 1, H, W), H and W divisible by {STRIDE}"
            raise ConfigurationError(msg)
        features = self.encoder(image)
        outputs = {}
        if "classification" in self.tasks:
            outputs["classification"] = self.classify(features[-1].mean(dim=(2, 3)))
        if "segmentation" in self.tasks:
            outputs["segmentation"] = self.segment(features)
        if "reconstruction" in self.tasks:
            outputs["reconstruction"] = self.reconstruct(features)
        if "detection" in self.tasks:
            outputs["detection"] = self.detect(image, features, targets)
        return outputs


class _Decoder(nn.Module):
    """A U-Net decoder with the encoder's skips, and a convolution to the outputs."""

    def __init__(self, decoder: nn.Module, outputs: int) -> None:
        super().__init__()
        self.decoder = decoder
        self.head = nn.Conv2d(_DECODER_CHANNELS[-1], outputs, kernel_size=3, padding=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.head(self.decoder(features))


def _decoder(encoder: str, channels: Sequence[int], *, outputs: int) -> nn.Module:
    # A VGG ends without a bottleneck of its own, which segmentation_models_pytorch's U-Net adds for it.
    unet = UnetDecoder(channels, _DECODER_CHANNELS, n_blocks=5, add_center_block=encoder.startswith("vgg"))
    return _Decoder(unet, outputs)


class DetectionHead(nn.Module):
    """Mask R-CNN after its backbone: a feature pyramid over strides 4 to 32, proposals, boxes and masks.

    Fewer proposals than torchvision's defaults, as a slice has a handful of lesions, not the dozens of a photograph.

    Args:
        channels: of the encoder's six feature maps.
        classes: lesions and background.
    """

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.pyramid = FeaturePyramidNetwork(list(channels[2:]), _PYRAMID_CHANNELS, extra_blocks=LastLevelMaxPool())
        assembled = MaskRCNN(
            _PyramidOnly(),
            num_classes=classes,
            rpn_anchor_generator=AnchorGenerator(_ANCHOR_PIXELS, _RATIOS * len(_ANCHOR_PIXELS)),
            rpn_pre_nms_top_n_train=500,
            rpn_pre_nms_top_n_test=500,
            rpn_post_nms_top_n_train=200,
            rpn_post_nms_top_n_test=200,
            box_batch_size_per_image=64,
            box_detections_per_img=20,
        )
        self.proposals, self.roi_heads = assembled.rpn, assembled.roi_heads

    def forward(
        self, image: Tensor, features: list[Tensor], targets: list[dict[str, Tensor]] | None
    ) -> Tensor | list[dict[str, Tensor]]:
        """The sum of the losses in training, otherwise each slice's detections.

        Raises:
            ConfigurationError: training without targets.
        """
        if self.training and targets is None:
            msg = "detection is trained with targets: boxes, labels and masks of every slice"
            raise ConfigurationError(msg)
        maps = self.pyramid({str(level): feature for level, feature in enumerate(features[2:])})
        sizes = [tuple(image.shape[2:])] * len(image)
        proposals, losses = self.proposals(ImageList(image, sizes), maps, targets)
        if self.training:
            return sum((losses | self.roi_heads(maps, proposals, sizes, targets)[1]).values())
        return self._boxes(maps, proposals, sizes)

    def _boxes(
        self, maps: dict[str, Tensor], proposals: list[Tensor], sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        # What RoIHeads does before its masks, which take ten times as long and which nothing asks for.
        heads = self.roi_heads
        pooled = heads.box_head(heads.box_roi_pool(maps, proposals, sizes))
        found = zip(*heads.postprocess_detections(*heads.box_predictor(pooled), proposals, sizes), strict=True)
        return [{"boxes": boxes, "scores": scores, "labels": labels} for boxes, scores, labels in found]


class _PyramidOnly(nn.Module):
    """Tells ``MaskRCNN`` the channels of the pyramid; only what comes after the backbone is taken from it."""

    out_channels = _PYRAMID_CHANNELS
