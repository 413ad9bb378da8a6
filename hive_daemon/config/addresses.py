"""TCP addresses to listen on, as a configuration writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

MAX_PORT = 65535

_HOST_AND_PORT = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<name>[^:\[\]]*)):(?P<port>\d{1,5})")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A host and a port; port 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


def parse_listen(text: str) -> ListenAddress:
    """Read `host:port`, `1.2.3.4:port` or `[::1]:port`.

    Law: `parse_listen(str(address)) == address`. Raises ValueError with the predicate of a sentence about the
    text, as in `"8080" has no host, …`.
    """
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:
        raise ValueError("is no address, write host:port, for example 127.0.0.1:8080 or [::1]:8080")
    host, port = match["v6"] if match["v6"] is not None else match["name"], int(match["port"])
    if not host:
        raise ValueError(
            f"has no host, write 127.0.0.1:{port}, or 0.0.0.0:{port} for every network"
        )
    if port > MAX_PORT:
        raise ValueError(f"has a port above {MAX_PORT}")
    if not (_is_ip6(host) if match["v6"] is not None else _is_host(host)):
        raise ValueError("has a host that is neither an IP address nor a host name")
    return ListenAddress(host, port)


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach the host; a name other than `localhost` counts as outside."""
    if host.lower() == "localhost":
        return True
    address = _as_ip(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address is not None and address.is_loopback


def _as_ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_ip6(host: str) -> bool:
    return isinstance(_as_ip(host), IPv6Address)


def _is_host(host: str) -> bool:
    # A name of digits and dots alone is a mistyped IPv4 address: 127.0.0.300, 10.0.1.
    if host.replace(".", "").isdigit():
        return isinstance(_as_ip(host), IPv4Address)
    return _HOST_NAME.fullmatch(host) is not None
