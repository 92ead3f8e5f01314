"""TransUNet: its Transformer against timm's ViT, its size against the published one, other image sizes."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from scripts.networks.baselines.transunet import PatchTransformer, TransUNet


def test_the_published_number_of_parameters(parameters_of):
    # R50-ViT-B/16 of the authors' code: 105.28 M.
    assert abs(parameters_of(TransUNet) / 105.28e6 - 1) < 0.02


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    made = PatchTransformer(6, dim=16, depth=2, heads=4, mlp_dim=32, dropout=0.1, grid=4).eval()
    torch.nn.init.normal_(made.positions)
    return made


@torch.inference_mode()
def test_parity_with_timms_vit(transformer):
    vit = VisionTransformer(
        img_size=4,
        patch_size=1,
        in_chans=6,
        num_classes=0,
        global_pool="",
        embed_dim=16,
        depth=2,
        num_heads=4,
        mlp_ratio=2.0,
        class_token=False,
    ).eval()
    state = {f"blocks.{name}": value for name, value in transformer.blocks.state_dict().items()}
    state |= {f"norm.{name}": value for name, value in transformer.norm.state_dict().items()}
    state |= {f"patch_embed.proj.{name}": value for name, value in transformer.project.state_dict().items()}
    vit.load_state_dict(state | {"pos_embed": transformer.positions.flatten(2).transpose(1, 2)})
    maps = torch.randn(2, 6, 4, 4)
    expected = vit.forward_features(maps).transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(transformer(maps), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_positions_are_stretched_over_other_grids(transformer):
    transformer.positions[:] = torch.linspace(-1, 1, 4)[:, None]
    there = transformer._positions_on((8, 2))
    assert there.shape == (1, 16, 8, 2)
    down = there[0, 0, :, 0]
    assert (down.diff() > 0).all()
    torch.testing.assert_close(down, -down.flip(0))


@torch.inference_mode()
def test_one_set_of_weights_takes_every_image_size():
    network = TransUNet(layers=(1, 1, 1), dim=48, depth=1, heads=4, mlp_dim=96).eval()
    for side in (32, 128, 256):
        assert network(torch.randn(1, 4, side, side))["segmentation"].shape == (1, 1, side, side)


@torch.inference_mode()
def test_positions_matter():
    torch.manual_seed(0)
    network = TransUNet(layers=(1, 1, 1), dim=48, depth=1, heads=4, mlp_dim=96).eval()
    image = torch.randn(1, 4, 64, 64)
    before = network(image)["segmentation"]
    torch.nn.init.normal_(network.transformer.positions)
    assert not torch.allclose(network(image)["segmentation"], before)
