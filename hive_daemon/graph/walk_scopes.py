"""The scopes of a walk: merged where branches meet, and tidied up, so that a walk costs no more the longer it lasts.

Tidying changes nothing that anybody could read now or later: a scope with a single scope below it takes that in, an
ended branch whose writes can no longer win is forgotten, and so is who knew what nobody holds any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hive_daemon.graph.edge import BranchFailure, ConflictStrategy
from hive_daemon.graph.memory import ROOT, Entry, Write
from hive_daemon.graph.merge import MergeConflict, ScopeTree, Side, absorbed, is_same, merge
from hive_daemon.graph.walk_draft import Draft
from hive_daemon.graph.walk_state import Branch, Outcome, OutcomeKind, Phase, Scope


def join(draft: Draft, group: Sequence[Branch]) -> None:
    """Make one branch of those that stand before the same node, given in branch order; a conflict fails the walk."""
    tree = draft.tree
    home = tree.common([branch.scope for branch in group])
    others = [branch.scope for branch in draft.branches if branch not in group]
    sides = [tree.side(branch.scope, home) for branch in group]
    into = home
    if not _is_free(draft, home, tree.users(others)):
        into = draft.take_id()
        parted = draft.scopes[tree.below(group[0].scope, home)]
        draft.scopes[into] = Scope(into, home, parted.source, group[0].node)
    if not _merge_into(draft, sides, into):
        return
    first, *rest = group
    for branch in rest:
        draft.remove(branch)
    draft.replace(first.id, Branch(draft.take_id(), first.node, into))


def merge_ended(draft: Draft) -> bool:
    """Merge what the ended branches wrote into the root, and forget them; False after a conflict."""
    tree = draft.tree
    sides = [tree.side(branch.scope, ROOT) for branch in draft.branches]
    if not _merge_into(draft, sides, ROOT):
        return False
    draft.branches = []
    draft.is_reshaped = True
    return True


def tidy(draft: Draft) -> None:
    """Bring the scopes into their simplest form after branches met, ended or were dropped."""
    if not draft.scopes:
        return
    while _fold_one(draft) or _forget_one(draft):
        pass
    _prune(draft)


def _merge_into(draft: Draft, sides: Sequence[Side], into: int) -> bool:
    """Merge sides into the scope above them, or into a new one beside them; False after a conflict."""
    draft.stamp += 1
    try:
        merged = merge(sides, _strategy(draft), (draft.stamp, into))
    except MergeConflict as conflict:
        draft.outcome = Outcome(OutcomeKind.FAILED, None, str(conflict), conflict.code)
        return False
    if into != ROOT:
        scope = draft.scopes[into]
        known = {**dict(scope.absorbed), **absorbed(sides)}
        draft.scopes[into] = replace(scope, absorbed=tuple(sorted(known.items())))
    draft.apply([Write(into, key, *entry) for key, entry in merged.items()])
    return True


def _strategy(draft: Draft) -> ConflictStrategy:
    return draft.topology.graph.parallel_config.memory_conflict_strategy


def _is_free(draft: Draft, home: int, users: dict[int, int]) -> bool:
    """Say whether nobody in `users` is below a scope; the root is free only while no branch has ended."""
    if home == ROOT and (draft.terminals or draft.open_ends):
        return False
    return home not in users


def _fold_one(draft: Draft) -> bool:
    """Let everything below a scope that is alone below another write to that other one itself."""
    tree = draft.tree
    users = tree.users(branch.scope for branch in draft.branches)
    for scope in draft.scopes.values():
        if users.get(scope.parent, 0) == users.get(scope.id) and _takes_in(draft, scope.parent):
            _merge_into(draft, [tree.side(scope.id, scope.parent)], scope.parent)
            _move_up(draft, scope)
            return True
    return False


def _takes_in(draft: Draft, scope: int) -> bool:
    """Say whether a scope may take in the only one below it; the root only for a single branch that still goes."""
    if scope != ROOT:
        return True
    is_single = len(draft.branches) == 1 and draft.branches[0].phase is not Phase.FAILED
    return is_single and _is_free(draft, ROOT, {})


def _move_up(draft: Draft, scope: Scope) -> None:
    for other in list(draft.scopes.values()):
        if other.parent == scope.id:
            draft.scopes[other.id] = replace(other, parent=scope.parent)
    for branch in draft.branches:
        if branch.scope == scope.id:
            draft.put(replace(branch, scope=scope.parent))


def _forget_one(draft: Draft) -> bool:
    """Forget an ended branch, or its own writes, if they make no difference to what the walk will come to."""
    tree = draft.tree
    users = tree.users(branch.scope for branch in draft.branches)
    ended = [branch for branch in draft.branches if branch.phase is Phase.ENDED]
    for place, branch in enumerate(ended):
        is_alone = users[branch.scope] == 1
        better = ended[place + 1 :]
        if _strategy(draft) is ConflictStrategy.FIRST_WINS:
            better = ended[:place]
        rivals = [rival for rival in better if users[rival.scope] == 1]
        if is_alone and not _is_moot(draft, branch, rivals):
            continue
        kept = draft.scopes[branch.scope].parent if is_alone else branch.scope
        if kept == ROOT or _has_keeper(draft, kept, branch):
            draft.remove(branch)
            return True
        if is_alone:
            # Should all others be lost, what they share with this one must not be lost with them.
            draft.put(replace(branch, scope=kept))
            return True
    return False


def _has_keeper(draft: Draft, scope: int, branch: Branch) -> bool:
    """Say whether another branch will bring what is in a scope to the end of the walk."""
    tree = draft.tree
    policy = draft.topology.graph.parallel_config.on_branch_failure
    return any(
        other is not branch
        and scope in tree.lineage(other.scope)
        and (other.phase is Phase.ENDED or policy is not BranchFailure.CONTINUE_OTHERS)
        for other in draft.branches
    )


def _is_moot(draft: Draft, branch: Branch, rivals: Sequence[Branch]) -> bool:
    """Say whether each of an ended branch's own writes gives way to one of its rivals', and outdates nothing."""
    tree = draft.tree
    side = tree.side(branch.scope, ROOT)
    own = tree.memory.layers.get(branch.scope, {})
    return all(
        not _outdates(tree, side, key, entry)
        and any(_beats(draft, rival, key, entry) for rival in rivals)
        for key, entry in own.items()
    )


def _outdates(tree: ScopeTree, side: Side, key: str, entry: Entry) -> bool:
    """Say whether a value that somebody holds gives way to this one."""
    held = (layer[key] for layer in tree.memory.layers.values() if key in layer)
    return any(side.knows(other) and not is_same(other, entry) for other in held)


def _beats(draft: Draft, rival: Branch, key: str, entry: Entry) -> bool:
    """Say whether an ended branch, the better one by its place, wins over an entry whatever else happens."""
    mine = draft.memory.layers.get(rival.scope, {}).get(key)
    if mine is None or (mine.is_handed and not entry.is_handed):
        return False
    if _strategy(draft) is ConflictStrategy.ERROR and not entry.is_handed:
        return False
    is_elsewhere = mine.origin != rival.scope and mine.origin in draft.scopes
    is_known = any(
        mine.origin in dict(scope.absorbed)
        for scope in draft.scopes.values()
        if scope.id != rival.scope
    )
    return not is_elsewhere and not is_known


def _prune(draft: Draft) -> None:
    """Drop scopes that no branch is in, and the memory of absorbed ones from which nobody holds a value."""
    live = draft.tree.users(branch.scope for branch in draft.branches)
    kept = {sid: scope for sid, scope in draft.scopes.items() if sid in live}
    held = {
        entry.origin for sid in kept for entry in draft.memory.layers.get(sid, {}).values()
    } | kept.keys()
    for sid, scope in kept.items():
        known = tuple(pair for pair in scope.absorbed if pair[0] in held)
        if known != scope.absorbed:
            kept[sid] = replace(scope, absorbed=known)
    draft.keep_scopes(kept)
