"""MedNeXt: MONAI's network under our contract, in the paper's sizes."""

import pytest
import torch
from monai.networks.nets import MedNeXtSmall

from scripts.domain.errors import ConfigurationError
from scripts.networks.baselines.mednext import MedNeXt


def test_an_unknown_variant_is_refused():
    with pytest.raises(ConfigurationError, match="'XL'"):
        MedNeXt(variant="XL")


@pytest.mark.parametrize(("variant", "millions"), [("S", 5.6), ("B", 10.5), ("M", 17.6), ("L", 61.8)])
def test_the_published_number_of_parameters(parameters_of, variant, millions):
    # Roy et al. 2023, kernels of 3, in 3D.
    assert abs(parameters_of(MedNeXt, variant=variant, spatial_dims=3) / (millions * 1e6) - 1) < 0.02


def test_parity_with_monai():
    torch.manual_seed(0)
    reference = MedNeXtSmall(spatial_dims=2, in_channels=4, out_channels=1).eval()
    network = MedNeXt(variant="S").eval()
    network.mednext.load_state_dict(reference.state_dict())
    image = torch.randn(1, 4, 32, 48)
    with torch.inference_mode():
        torch.testing.assert_close(network(image)["segmentation"], reference(image))
