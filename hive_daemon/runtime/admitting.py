"""How one trigger is taken in under the rules of its entry point: from its input to what its submission carries."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hive_daemon.runtime.flow import Admitted, FlowRules
from hive_daemon.storage.admission import Admission, Strategy
from hive_daemon.storage.values import Dedupe

logger = logging.getLogger(__name__)

ONCE = "flow.dedupe"
"""What follows a lane in the namespace of the keys that `flow.dedupe` reads."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A trigger as the rules of its entry point see it. `session_id` is empty unless it names one.

    One that `replaces` takes over what runs, whatever the rules say, and one that `queues` never does.
    """

    lane: str
    source: str
    session_id: str = ""
    correlation_id: str = ""
    is_joined: bool = False
    replaces: bool = False
    queues: bool = False


def admission_of(
    rules: FlowRules, arrival: Arrival, inputs: Mapping[str, Any]
) -> tuple[Admission, Dedupe | None]:
    """Return what a submission is taken in under, and by which key it is the same as another.

    What a key could not be read from is logged.
    """
    admitted = rules.admit(
        {
            "input": inputs,
            "source": arrival.source,
            "session_id": arrival.session_id,
            "correlation_id": arrival.correlation_id,
        },
        is_joined=arrival.is_joined,
        names_session=bool(arrival.session_id),
    )
    for remark in admitted.remarks:
        logger.warning("a key has no value", extra={"lane": arrival.lane, "reason": remark})
    admission = admitted.admission
    if arrival.queues and rules.takes_over:
        admission = replace(admission, strategy=Strategy.QUEUE)
    if arrival.replaces:
        admission = replace(admission, limit=1, strategy=Strategy.INTERRUPT)
    return admission, _once(admitted, arrival.lane)


def _once(admitted: Admitted, lane: str) -> Dedupe | None:
    if not admitted.once:
        return None
    # The bodies may differ: what is compared is the key alone.
    return Dedupe(f"{lane} {ONCE}", admitted.once, "", admitted.once_seconds)
