"""MTI-Net for four-phase liver MRI: data in (studies), through (networks, engines), out (results)."""

from .domain.entry import show_config_errors_in_one_line

# Every config imports this package first, and nothing of ours is around what monai.bundle then builds from it.
show_config_errors_in_one_line()
