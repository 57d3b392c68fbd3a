"""Which use of a module was computed from which, as a backward pass finds it."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

from minires.engine.op import Op
from minires.recording.uses import Use


class PassGraph:
    """What each use was computed from: the uses that lie before it without another one between.

    The pass comes to an op after all ops that were computed from it, so these can leave word for it.
    """

    def __init__(self) -> None:
        self.before: dict[Use, dict[Use, None]] = {}  # for each use, those that it was computed from
        self._users: dict[Op, dict[Use, None]] = {}  # for each op ahead, the uses that were computed from it

    def see(self, op: Op, uses: Sequence[Use]) -> None:
        """The pass has come to this op, whose output is that of these uses: a module inside another one before that."""
        users = self._users.pop(op, {})
        for i, use in enumerate(uses):
            self._note(use, uses[:i])
            for user in users:
                self._note(user, [use])
        users = {uses[0]: None} if uses else users
        for x in op.inputs if users else ():
            if isinstance(x, Op):
                self._users.setdefault(x, {}).update(users)

    def _note(self, use: Use, others: Iterable[Use]) -> None:
        """A module that returns several tensors was not done when what it holds computed the second from the first."""
        known = self.before.setdefault(use, {})
        for other in others:
            if use.time is None or other.time is None or other.time < use.time:
                known[other] = None

    def move(self, op: Op, last: Op) -> None:
        """What was left for a checkpoint is for the op that now makes its output."""
        if op in self._users:
            self._users.setdefault(last, {}).update(self._users.pop(op))
