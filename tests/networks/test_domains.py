"""Both domains, encoded and fused."""

import pytest
import torch

from scripts.domain.errors import ConfigurationError
from scripts.networks.domains import FusedEncoder

WIDTHS = (4, 6, 8, 10)


@pytest.mark.parametrize(("switch", "value"), [("spectral", "wavelet"), ("fusion", "sum")])
def test_unknown_switches_are_refused(switch, value):
    with pytest.raises(ConfigurationError, match=f"{switch} must be one of.*{value}"):
        FusedEncoder(WIDTHS, **{switch: value})


def test_phases_lie_side_by_side(image):
    """Channel p * C + c of the concatenation is channel c of phase p, for every sample."""
    encoder = FusedEncoder(WIDTHS, fusion="spatial", first_level=0).eval()
    folded = encoder.spatial(image.flatten(0, 1).unsqueeze(1))
    maps = encoder(image)
    for level, (width, wide) in enumerate(zip((*WIDTHS, WIDTHS[-1]), maps, strict=True)):
        assert wide.shape[:2] == (2, 4 * width)
        torch.testing.assert_close(wide[1, 2 * width + 3], folded[level][1 * 4 + 2, 3])


def test_upper_levels_are_not_fused(image):
    maps = FusedEncoder(WIDTHS, fusion="concat", first_level=3).eval()(image)
    assert [m.numel() > 0 for m in maps] == [False, False, False, True, True]


def test_ablations_build_only_what_they_use():
    def parts(**switches) -> set[str]:
        encoder = FusedEncoder(WIDTHS, first_level=0, **switches)
        built = {name for name in ("spatial", "spectral", "high_pass") if getattr(encoder, name) is not None}
        return built | ({"fusions"} if len(encoder.fusions) else set())

    assert parts() == {"spatial", "spectral", "high_pass", "fusions"}
    assert parts(fusion="concat") == {"spatial", "spectral", "high_pass", "fusions"}
    assert parts(fusion="spatial") == {"spatial"}
    assert parts(fusion="spatial", spectral="feature") == {"spatial"}
    assert parts(fusion="spectral") == {"spectral", "high_pass"}
    assert parts(spectral="feature") == {"spatial", "high_pass", "fusions"}
    assert parts(fusion="spectral", spectral="feature") == {"spatial", "high_pass"}


def test_no_spa_sees_no_constant(image):
    """The high-passed image knows nothing of a phase's level."""
    encoder = FusedEncoder(WIDTHS, fusion="spectral", first_level=0).eval()
    for here, there in zip(encoder(image), encoder(image + 3.0), strict=True):
        torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-4)


def test_features_are_filtered_level_by_level(image):
    encoder = FusedEncoder(WIDTHS, fusion="spectral", spectral="feature", first_level=0).eval()
    for level_map in encoder(image):
        torch.testing.assert_close(level_map.mean(dim=(2, 3)), torch.zeros(level_map.shape[:2]), atol=1e-5, rtol=0)
