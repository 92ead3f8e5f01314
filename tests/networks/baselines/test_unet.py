"""UNet: MONAI's BasicUNet under our contract."""

import torch
from monai.networks.nets import BasicUNet

from scripts.networks.baselines.unet import UNet


def test_31_million_parameters(parameters_of):
    # Counted on the original's figure by many; its own paper gives no number.
    assert abs(parameters_of(UNet) / 31.0e6 - 1) < 0.02


def test_parity_with_basic_unet():
    torch.manual_seed(0)
    reference = BasicUNet(spatial_dims=2, in_channels=4, out_channels=1, features=(8, 16, 16, 32, 32, 8)).eval()
    network = UNet(widths=(8, 16, 16, 32, 32)).eval()
    network.unet.load_state_dict(reference.state_dict())
    image = torch.randn(2, 4, 32, 48)
    available = torch.tensor([[True, True, True, True], [True, False, True, True]])
    with torch.inference_mode():
        answer = network(image, available)["segmentation"]
        expected = reference(image * available[:, :, None, None])
    torch.testing.assert_close(answer, expected)
