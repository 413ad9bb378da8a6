"""`framework.credentials.models`: what programs of the older system catch when a credential is missing."""

from __future__ import annotations

from hive_daemon.errors import HiveError


class CredentialError(HiveError):
    """A credential that the agent needs is missing."""

    code = "credential"
