"""The whole network: its contract, its switches, and the numbers in its docstring."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scripts.domain.errors import ConfigurationError
from scripts.networks.mtinet import MTINet, SegmentationOnly

CONFIG = Path(__file__).parents[2] / "bundle" / "configs" / "train.yaml"
TRAIN = {name: value for name, value in yaml.safe_load(CONFIG.read_text())["network_def"].items() if name != "_target_"}
PAPER = {"widths": (64, 128, 256, 512)}
VARIANTS = {
    "defaults": {},
    "train": TRAIN,
    "no_mdief": {**TRAIN, "fusion": "concat"},
    "no_spe": {**TRAIN, "fusion": "spatial"},
    "no_spa": {**TRAIN, "fusion": "spectral"},
    "features": {**TRAIN, "spectral": "feature"},
    "spectrum": {"spectral": "log_magnitude"},
    "matrices": {"high_pass": "matrix", "cutoff": 0.2},
    "four_encoders": {"share_encoder": False},
    "two_convolutions": {"convs_per_block": 2},
    "shannon": {"fusion_weights": "shannon"},
    "learned": {**TRAIN, "fusion_weights": "learned"},
    "flatten": {"head": "flatten"},
    "healthy": {**TRAIN, "classes": 3},
    "segmentation": {**TRAIN, "tasks": ("segmentation",)},
    "regression": {**TRAIN, "tasks": ("segmentation", "regression")},
    "classification": {**TRAIN, "tasks": ("segmentation", "classification")},
}


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"head": "locate"}, r"head='locate' reads .* set fusion_levels='all'"),
        ({"decoder_skips": True}, r"decoder_skips=True reads .* set fusion_levels='all'"),
        ({"fusion_levels": "some"}, "must be 'last' or 'all'; got 'some'"),
        ({"tasks": ("segmentation", "detection")}, "tasks must be some of"),
        ({"tasks": ()}, "tasks must be some of"),
        ({"classes": 4}, r"classes must be 2 .* or 3"),
        ({"widths": (8, 16)}, "four blocks"),
        ({"spatial_dims": 4}, "spatial_dims must be 2 or 3"),
    ],
)
def test_contradictory_switches_are_refused(switches, message):
    with pytest.raises(ConfigurationError, match=message):
        MTINet(**switches)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 4, 100, 96), "not all divisible by 16: pad or crop"),
        ((2, 3, 96, 96), "stack the four phases"),
        ((4, 96, 96), "stack the four phases"),
        ((1, 4, 96, 96, 32), "stack the four phases"),
    ],
)
def test_wrong_images_are_refused(make_network, shape, message):
    with pytest.raises(ConfigurationError, match=message):
        make_network()(torch.zeros(shape))


@pytest.mark.parametrize("name", VARIANTS)
def test_outputs(make_network, image, name):
    outputs = make_network(**VARIANTS[name])(image)
    shapes = {key: tuple(value.shape) for key, value in outputs.items()}
    tasks = VARIANTS[name].get("tasks", ("segmentation", "regression", "classification"))
    expected = {
        "segmentation": (2, 1, 96, 80),
        "regression": (2, 4),
        "classification": (2, VARIANTS[name].get("classes", 2)),
    }
    expected = {task: expected[task] for task in tasks}
    if VARIANTS[name].get("head") == "locate" and len(tasks) > 1:
        expected["localisation"] = (2, 1, 48, 40)
    assert shapes == expected
    assert all(torch.isfinite(value).all() for value in outputs.values())


@pytest.mark.parametrize("name", VARIANTS)
def test_gradient_reaches_every_parameter(make_network, image, name):
    network = make_network(**VARIANTS[name]).train()
    sum((value**2).mean() for value in network(image).values()).backward()
    without = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


@pytest.mark.parametrize("size", [(16, 16), (96, 80), (48, 256)])
def test_any_size_divisible_by_16(make_network, size):
    outputs = make_network(**TRAIN)(torch.randn(1, 4, *size))
    assert outputs["segmentation"].shape[2:] == size


def test_three_dimensions(make_network):
    outputs = make_network(**TRAIN, spatial_dims=3)(torch.randn(1, 4, 32, 16, 48))
    assert outputs["segmentation"].shape == (1, 1, 32, 16, 48)
    assert outputs["localisation"].shape == (1, 1, 16, 8, 24)
    assert outputs["regression"].shape == (1, 4)


@pytest.mark.parametrize("name", ["defaults", "train", "no_spe", "flatten", "four_encoders"])
def test_pixels_of_absent_phases_do_not_matter(make_network, image, name):
    network = make_network(**VARIANTS[name])
    available = torch.tensor([[True, True, False, True], [False, True, True, True]])
    garbage = image.clone()
    garbage[0, 2], garbage[1, 0] = float("nan"), 1e6
    here, there = network(image, available), network(garbage, available)
    for key, value in here.items():
        torch.testing.assert_close(there[key], value, rtol=0, atol=0)
    assert not torch.allclose(network(image)["classification"], here["classification"])


def test_defaults_are_all_phases_at_their_nominal_times(make_network, image):
    network = make_network(**TRAIN)
    times_s = torch.tensor([[0.0, 30.0, 70.0, 180.0]]).expand(2, -1)
    explicit = network(image, torch.ones(2, 4, dtype=torch.bool), times_s)
    for key, value in network(image).items():
        torch.testing.assert_close(explicit[key], value)


def test_slices_do_not_depend_on_their_batch(make_network, image):
    network = make_network(**TRAIN)
    together = network(image)
    for key, value in network(image[1:]).items():
        torch.testing.assert_close(together[key][1:], value, atol=1e-5, rtol=1e-5)


def test_heads_do_not_see_the_decoder(make_network, image):
    network = make_network(**TRAIN)
    before = network(image)
    torch.nn.init.zeros_(network.decoder.logit.weight)
    after = network(image)
    assert not torch.allclose(before["segmentation"], after["segmentation"])
    torch.testing.assert_close(before["regression"], after["regression"], rtol=0, atol=0)


def test_skips_of_no_spa_never_see_the_spatial_maps(make_network, image):
    """A skip carries the fused map: without a spatial encoder a constant is invisible to the decoder."""
    network = make_network(**TRAIN, fusion="spectral", tasks=("segmentation",))
    torch.testing.assert_close(
        network(image + 3.0)["segmentation"], network(image)["segmentation"], atol=1e-4, rtol=1e-4
    )


def test_removed_parts_are_not_built(make_network):
    def parameters(**switches) -> int:
        return sum(p.numel() for p in make_network(**TRAIN, **switches).parameters())

    full = parameters()
    segmentation = make_network(**TRAIN, tasks=("segmentation",))
    assert segmentation.head is None
    assert make_network(tasks=("regression",)).decoder is None
    assert parameters(tasks=("segmentation",)) < parameters(tasks=("segmentation", "regression")) < full
    assert parameters(fusion="spatial") == parameters(fusion="spectral") < full < parameters(fusion="concat")


def test_attention_by_phase(make_network, image):
    network = make_network(**TRAIN)
    available = torch.tensor([[True, True, False, True]]).expand(2, -1)
    attention = network.attention_by_phase(image, available)
    assert attention.shape == (2, 2, 4, 4)
    assert torch.all(attention[..., 2] == 0)
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(2, 2, 4))
    with pytest.raises(ConfigurationError, match="no Transformer head"):
        make_network(tasks=("segmentation",)).attention_by_phase(image)


@pytest.mark.parametrize("name", ["defaults", "train", "spectrum"])
def test_bfloat16_autocast(make_network, image, name):
    network = make_network(**VARIANTS[name]).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = network(image)
    assert {value.dtype for value in outputs.values()} == {torch.float32}
    sum(value.mean() for value in outputs.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("name", VARIANTS)
def test_weights_only_checkpoint(make_network, image, name, tmp_path):
    network = make_network(**VARIANTS[name])
    torch.save(network.state_dict(), tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(value.dtype in (torch.float32, torch.int64) for value in state.values())
    other = make_network(**VARIANTS[name])
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    other.load_state_dict(state)
    for key, value in network(image).items():
        torch.testing.assert_close(other(image)[key], value)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.filterwarnings("ignore")
def test_torchscript(make_network, image, name):
    network = make_network(**VARIANTS[name])
    scripted = torch.jit.script(network)
    available = torch.tensor([[True, True, False, True]]).expand(2, -1)
    for arguments in ((image,), (image, available)):
        expected = network(*arguments)
        for key, value in scripted(*arguments).items():
            torch.testing.assert_close(value, expected[key], atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_trace(make_network, image):
    network = make_network(**TRAIN)
    traced = torch.jit.trace(network, image, strict=False)
    for key, value in network(image).items():
        torch.testing.assert_close(traced(image)[key], value, atol=1e-5, rtol=1e-5)


def test_segmentation_only(make_network, image):
    network = make_network(**TRAIN)
    torch.testing.assert_close(SegmentationOnly(network)(image), network(image)["segmentation"])


@pytest.mark.parametrize(
    ("name", "switches"),
    [
        ("train.yaml", TRAIN),
        ("its No MdIEF", VARIANTS["no_mdief"]),
        ("its No Spe, No Spa", VARIANTS["no_spe"]),
        ("its No Spe, No Spa", VARIANTS["no_spa"]),
        ("its Seg", VARIANTS["segmentation"]),
        ("its Seg+Reg", VARIANTS["regression"]),
        ("its Seg+Cls", VARIANTS["classification"]),
        ("paper.yaml", PAPER),
    ],
)
def test_documented_size_and_work(name, switches):
    network = MTINet(**switches).eval()
    # The fused attention kernels are not counted; the plain one is.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 4, 256, 256))
    row = re.search(rf"^\s+{re.escape(name)} +([\d,]+) parameters +([\d.]+) GFLOP$", MTINet.__doc__, re.MULTILINE)
    assert int(row[1].replace(",", "")) == sum(p.numel() for p in network.parameters())
    assert float(row[2]) == round(counter.get_total_flops() / 1e9, 2)


def test_weights_of_train_yaml_fit_in_16_mib():
    assert sum(value.nbytes for value in MTINet(**TRAIN).state_dict().values()) < 16 * 2**20
