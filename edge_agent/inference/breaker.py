"""When a model whose worker keeps dying is not waited for: requests that would wait in vain fail at once.

PURE. Rules:

1. The breaker opens with the restart of number ``OPENS_AT`` in a row and every one after it, for as long as that
   restart is put off: a request whose deadline is sooner fails, and is told when to come back. The pauses before are
   shorter than an application's usual deadline: it waits, and is answered.
2. When the pause is over, the restart is the trial: applications wait for it again. A worker that then lives
   ``restarts.STABLE_S`` closes the breaker, one that dies before opens it for longer.
3. Applications learn of it where they look anyway: the model's symlink names the time, on the machine's monotonic
   clock, instead of a worker. Nobody has to answer for it.
"""

from __future__ import annotations

from edge_agent.inference.restarts import restart_pause_s

OPENS_AT = 6
"""Its pause is 1.6 s; all before it together are 1.5 s of an application's usual 5 s."""
_PREFIX = "resting-until-"
_LONGEST_REST_S = 3600.0


def rest_s(restart: int) -> float:
    """How long requests fail at once before the restart of this number; 0 while the breaker is closed."""
    return restart_pause_s(restart) if restart >= OPENS_AT else 0.0


def name_of_rest(until_s: float) -> str:
    """What the model's symlink points to, in place of a worker's socket.

    Args:
        until_s: On the monotonic clock.
    """
    return f"{_PREFIX}{until_s:.1f}"


def left_of_rest_s(target: str, now_s: float) -> float:
    """How long a model still rests; 0 when its symlink points to a worker or the time is over.

    Args:
        target: Of the symlink.
        now_s: On the monotonic clock.
    """
    name = target.rpartition("/")[2]
    if not name.startswith(_PREFIX):
        return 0.0
    try:
        left_s = float(name[len(_PREFIX) :]) - now_s
    except ValueError:
        return 0.0
    return left_s if 0 < left_s <= _LONGEST_REST_S else 0.0
