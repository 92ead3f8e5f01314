"""Swin UNETR: MONAI's network under our contract, in the paper's size."""

import torch
from monai.networks.nets import SwinUNETR as MonaiSwinUNETR

from scripts.networks.baselines.swin_unetr import SwinUNETR


def test_the_published_number_of_parameters():
    # Hatamizadeh et al. 2022: 61.98 M, in 3D.
    network = SwinUNETR(spatial_dims=3)
    assert abs(sum(p.numel() for p in network.parameters()) / 61.98e6 - 1) < 0.02


@torch.inference_mode()
def test_parity_with_monai_where_nothing_is_padded():
    reference, network = make_pair()
    image = torch.randn(1, 4, 64, 96)
    torch.testing.assert_close(network(image)["segmentation"], reference(image))


@torch.inference_mode()
def test_other_sizes_are_padded_with_zeros_and_cropped():
    reference, network = make_pair()
    image = torch.randn(1, 4, 80, 32)
    padded = torch.zeros(1, 4, 96, 64)
    padded[:, :, :80, :32] = image
    torch.testing.assert_close(network(image)["segmentation"], reference(padded)[:, :, :80, :32])


def make_pair():
    torch.manual_seed(0)
    reference = MonaiSwinUNETR(in_channels=4, out_channels=1, feature_size=12, window_size=4, spatial_dims=2).eval()
    network = SwinUNETR(feature_size=12, window_size=4).eval()
    network.swin_unetr.load_state_dict(reference.state_dict())
    return reference, network
