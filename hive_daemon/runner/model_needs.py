"""Which models the parts of an agent work with, and whether the keys for them are at hand. Only names of variables
are told, never values.

Laws: what is looked for is what a run would use: the model of the node, else of the entry point, else of the agent,
with the entry point's fallbacks after it; a key that the agent brings counts for every model of its service; with the
scripted model no key is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hive_daemon.graph.edge import EdgeCondition
from hive_daemon.llm.factory import SCRIPTED, ModelChoice
from hive_daemon.runner.loaded_agent import LoadedAgent, ModelSettings
from hive_daemon.runner.model_choice import missing_key
from hive_daemon.runtime.entry_point import EntryPointSpec


@dataclass(frozen=True, slots=True)
class Need:
    """A model that parts of an agent work with.

    `places` name them, as `node 'look'`; it is empty for the agent's own model. `variable` holds no key although the
    model needs one; empty if all is well. `is_fallback`: it is asked only when another model does not answer.
    """

    model: str
    places: tuple[str, ...] = ()
    variable: str = ""
    is_fallback: bool = False

    def told(self) -> str:
        """Return what to do about its key, as a sentence."""
        at = f" ({', '.join(self.places)})" if self.places else ""
        what = "fallback" if self.is_fallback else "model"
        return f"the {what} {self.model!r}{at} needs a key, set {self.variable}"


Chain = tuple[Need, ...]
"""A model and its fallbacks, in the order in which they are asked."""


def missing_keys(
    agent: LoadedAgent, settings: ModelSettings, environ: Mapping[str, str]
) -> list[Need]:
    """Return the models without a key, each once with all its places; as a fallback only if it is nothing else."""
    found: dict[str, Need] = {}
    for spec in agent.entry_points:
        for chain in _chains(agent, settings, spec, environ):
            for need in chain:
                if need.variable:
                    found[need.model] = _with(found.get(need.model, need), need)
    return list(found.values())


def keys_to_run(
    agent: LoadedAgent, settings: ModelSettings, entry_point_id: str, environ: Mapping[str, str]
) -> list[Need]:
    """Return the models without whose key an entry point cannot run: where no fallback has its key either."""
    specs = [spec for spec in agent.entry_points if spec.id == entry_point_id]
    chains = [chain for spec in specs for chain in _chains(agent, settings, spec, environ)]
    return _once(chain[0] for chain in chains if all(need.variable for need in chain))


def _once(needs: Iterable[Need]) -> list[Need]:
    return list({need.model: need for need in needs}.values())


def _with(known: Need, further: Need) -> Need:
    """Return a need with the places of another for the same model; who names the agent's own model needs no place."""
    if not (known.places and further.places):
        places: tuple[str, ...] = ()
    else:
        places = tuple(dict.fromkeys((*known.places, *further.places)))
    is_fallback = known.is_fallback and further.is_fallback
    return Need(known.model, places, known.variable, is_fallback)


def _chains(
    agent: LoadedAgent, own: ModelSettings, spec: EntryPointSpec, environ: Mapping[str, str]
) -> Iterator[Chain]:
    """Give what the parts of an agent ask when it runs by an entry point."""
    if own.model.partition(":")[0] == SCRIPTED:
        return
    point = f"entry point {spec.id!r}"
    fallbacks = tuple(
        _need(name, own, environ, point, is_fallback=True) for name in spec.fallbacks or ()
    )
    if _works_with_the_common_model(agent):
        if spec.model is None:
            yield (_need(own.model, own, environ), *fallbacks)
        else:
            yield (_need(spec.model, own, environ, point), *fallbacks)
    for node in agent.model_nodes:
        if node.model is not None:
            yield (_need(node.model, own, environ, f"node {node.id!r}"), *fallbacks)


def _works_with_the_common_model(agent: LoadedAgent) -> bool:
    """Say whether a node names no model of its own, or an edge asks one."""
    asks = any(edge.condition == EdgeCondition.LLM_DECIDE for edge in agent.graph.edges)
    return asks or any(node.model is None for node in agent.model_nodes)


def _need(
    name: str,
    own: ModelSettings,
    environ: Mapping[str, str],
    place: str = "",
    *,
    is_fallback: bool = False,
) -> Need:
    first = ModelChoice(own.model, own.api_key, own.api_base)
    choice = ModelChoice(name.strip()).beside(first)
    settings = ModelSettings(choice.model, choice.api_key, choice.api_base)
    places = (place,) if place else ()
    return Need(choice.model, places, missing_key(settings, environ), is_fallback)
