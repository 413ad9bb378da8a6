"""On which port a daemon of the tests listens. It asks for any: what a test finds free, another may take before it."""

from __future__ import annotations

import re

from tests.fakes.daemon_process import Place


def tcp_port(place: Place) -> int:
    """Return the TCP port of a daemon that is ready."""
    detail = place.get("/v1/health")["checks"]["http"]["detail"]
    (port,) = re.findall(r"port (\d+)", detail)
    return int(port)
