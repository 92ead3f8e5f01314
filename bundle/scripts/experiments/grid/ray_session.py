"""Ray for the grid: one machine of its own by default, or a cluster that is there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType

from ...domain.errors import ConfigurationError
from .arms import CONFIGS


@contextmanager
def ray_session(address: str | None, *, cpus: int | None = None) -> Iterator[ModuleType]:
    """Start Ray, or join a cluster; leave it at the end, whatever happens. All tasks end with it.

    Without an address Ray runs on this machine alone and listens on loopback only. No dashboard is served and no usage
    statistics are sent.

    Args:
        address: of the cluster's head; its machines see the same folders at the same paths, this repository too.
        cpus: cores to use on this machine; all that this process may use by default.

    Yields:
        the module ``ray``.

    Raises:
        ConfigurationError: Ray is not installed, or nobody answers at the address.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Of the meanings of this switch the one that matters here is that a node which is no part of a cluster takes the
    # loopback address for its own; on Linux it would listen on all interfaces otherwise.
    on_loopback = address is None or address.startswith(("127.", "localhost"))
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0" if on_loopback else "1"
    if address is not None:
        _require_answer(address)
        # ``ray start`` asks for the token where its machine has one; who joins must say that it brings it.
        if (Path.home() / ".ray" / "auth_token").is_file():
            os.environ.setdefault("RAY_AUTH_MODE", "token")
    # A task that asks for no GPU must not see one, or all of them would use the first.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    bundle = str(CONFIGS.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (bundle, os.environ.get("PYTHONPATH"))))
    try:
        import ray
    except ImportError as error:
        msg = "the grid runs on Ray, which is not installed: pip install -r requirements/grid.txt"
        raise ConfigurationError(msg) from error
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            cores = len(os.sched_getaffinity(0)) if cpus is None else cpus
            # Results are words, not tensors: the smallest store will do.
            ray.init("local", num_cpus=cores, include_dashboard=False, object_store_memory=80 * 2**20, **quiet)
        else:
            ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        msg = f"Ray does not start at {address or 'this machine'}: {' '.join(str(error).split())[:300]}"
        raise ConfigurationError(msg) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Say at once what Ray says after a minute of trying.

    Raises:
        ConfigurationError: nobody listens at ``HOST:PORT``.
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        with closing(socket.create_connection((host.strip("[]"), int(port)), timeout=10.0)):
            return
    except OSError as error:
        msg = f"nobody answers at ray_address {address} ({error}). Start one there: ray start --head"
        raise ConfigurationError(msg) from error
