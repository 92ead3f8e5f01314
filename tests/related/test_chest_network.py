"""The chest network: heads by task, published sizes, and detections on the slice's own pixels."""

import pytest
import segmentation_models_pytorch
import torch
from torchvision.models.detection import MaskRCNN

from scripts.domain.errors import ConfigurationError
from scripts.related.chest_network import ENCODERS, TASKS, ChestNetwork

# torchvision's tables of weights: VGG-13 (batch norm) and ResNet-50 less their classifiers; Mask R-CNN of ResNet-50.
VGG13_BN = 133_053_736 - (25_088 * 4_096 + 4_096 + 4_096 * 4_096 + 4_096 + 4_096 * 1_000 + 1_000)
RESNET50 = 25_557_032 - (2_048 * 1_000 + 1_000)
MASK_RCNN_RESNET50_FPN = 44_401_393


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return ChestNetwork("resnet50")


@pytest.fixture
def targets():
    """Two slices of 64 x 64: one nodule in the first, none in the second."""
    mask = torch.zeros(1, 64, 64, dtype=torch.uint8)
    mask[0, 20:30, 8:24] = 1
    one = {"boxes": torch.tensor([[8.0, 20.0, 24.0, 30.0]]), "labels": torch.tensor([1]), "masks": mask}
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "masks": mask[:0]}
    return [one, none]


def test_an_unknown_encoder_is_refused():
    with pytest.raises(ConfigurationError, match="encoder 'vgg13' is none of vgg13_bn, resnet50"):
        ChestNetwork("vgg13")


@pytest.mark.parametrize("tasks", [(), ("regression",)])
def test_unknown_tasks_are_refused(tasks):
    with pytest.raises(ConfigurationError, match="give one or more of classification"):
        ChestNetwork("resnet50", tasks)


@pytest.mark.parametrize("shape", [(1, 1, 64, 48), (1, 4, 64, 64), (1, 64, 64)])
def test_an_image_of_another_shape_is_refused(shape, network):
    with pytest.raises(ConfigurationError, match=r"give \(slices, 1, H, W\), H and W divisible by 32"):
        network(torch.zeros(shape))


def test_detection_is_not_trained_without_targets(network):
    with pytest.raises(ConfigurationError, match="detection is trained with targets"):
        network.train()(torch.zeros(2, 1, 64, 64))


@pytest.mark.parametrize(("encoder", "published"), [("vgg13_bn", VGG13_BN), ("resnet50", RESNET50)])
def test_the_encoders_have_their_published_sizes(encoder, published):
    with torch.device("meta"):
        network = ChestNetwork(encoder, ["classification"])
    assert size(network.encoder) == pytest.approx(published, rel=0.02)


def test_the_detector_has_the_published_size_of_mask_rcnn():
    with torch.device("meta"):
        network = ChestNetwork("resnet50", ["detection"], detection_classes=91)
    assert size(network) == pytest.approx(MASK_RCNN_RESNET50_FPN, rel=0.02)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("task", TASKS)
def test_a_task_without_weight_has_no_parameters(encoder, task):
    with torch.device("meta"):
        everything, without = ChestNetwork(encoder), ChestNetwork(encoder, [each for each in TASKS if each != task])
    assert size(without) < size(everything)
    assert without.tasks == tuple(each for each in TASKS if each != task)


def test_an_answer_of_every_head(network):
    with torch.no_grad():
        outputs = network.eval()(torch.rand(2, 1, 64, 96))
    shapes = {name: tuple(value.shape) for name, value in outputs.items() if name != "detection"}
    assert shapes == {"classification": (2, 3), "segmentation": (2, 2, 64, 96), "reconstruction": (2, 1, 64, 96)}
    for said in outputs["detection"]:
        boxes = said["boxes"]
        assert len(boxes) == len(said["labels"]) == len(said["scores"]) <= 20
        assert (boxes[:, 0::2] <= 96).all()
        assert (boxes[:, 1::2] <= 64).all()
        assert ((said["labels"] == 1) | (said["labels"] == 2)).all()


class Backbone(torch.nn.Module):
    """The encoder and the pyramid as torchvision's Mask R-CNN wants its backbone."""

    out_channels = 256

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        features = self.network.encoder(image)
        return self.network.detect.pyramid({str(level): feature for level, feature in enumerate(features[2:])})


@pytest.fixture
def reference(network):
    """torchvision's Mask R-CNN around the same parts, which neither resizes nor normalises a slice of 64 x 64."""
    model = MaskRCNN(Backbone(network), num_classes=3, min_size=64, max_size=64, image_mean=[0.0], image_std=[1.0])
    model.rpn, model.roi_heads = network.detect.proposals, network.detect.roi_heads
    # It draws a size in training even where there is but one, which would shift all later random numbers.
    model.transform.torch_choice = lambda sizes: sizes[0]
    return model


def test_detections_are_those_of_torchvisions_mask_rcnn(network, reference):
    image = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        ours, theirs = network.eval()(image)["detection"], reference.eval()(list(image))
    assert any(len(said["boxes"]) for said in ours)
    for one, other in zip(ours, theirs, strict=True):
        for name in ("boxes", "labels", "scores"):
            torch.testing.assert_close(one[name], other[name])


def test_the_detection_loss_is_the_sum_of_torchvisions(network, reference, targets):
    image = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(5)
    ours = network.train()(image, targets)["detection"]
    torch.manual_seed(5)
    theirs = reference.train()(list(image), targets)
    assert len(theirs) == 5
    torch.testing.assert_close(ours, sum(theirs.values()))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_segmentation_is_that_of_the_librarys_unet(encoder):
    torch.manual_seed(3)
    network = ChestNetwork(encoder, ["segmentation"]).eval()
    theirs = segmentation_models_pytorch.Unet(encoder, encoder_weights=None, in_channels=1, classes=2).eval()
    parts = ((theirs.encoder, network.encoder), (theirs.decoder, network.segment.decoder))
    for reference, own in (*parts, (theirs.segmentation_head[0], network.segment.head)):
        reference.load_state_dict(own.state_dict())
    image = torch.rand(2, 1, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(network(image)["segmentation"], theirs(image))
