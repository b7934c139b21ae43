"""Decides whether the next request of a key may be sent now, and with which nonce.

These are pure functions of a state, a question and a clock; `memory`, `folder` and `redis` keep the
state. Times are whole microseconds of the state's own clock, which nobody sets. Nonces are
milliseconds since the epoch. A time in the future of that clock comes from before a restart, and is
ignored.
"""

import struct
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

SECOND = 1_000_000
#: Requests take unequal time to arrive, so the exchange's window is never quite ours.
LONGEST_SLACK = SECOND
#: So many of what changes the book may go before a reading that waits.
MOST_BEFORE_A_READING = 3
#: After a collision of nonces nothing overlaps for a while, except after so long without an answer.
CAREFUL = 60 * SECOND
CAREFUL_GAP = SECOND // 4
#: How long one who waits may be late before the others go on without it.
PATIENCE = SECOND // 4
#: How long a request stays known by its token: longer than any store takes to answer.
REMEMBERED = 2 * SECOND
MOST_REMEMBERED = 256
#: A member that has not been heard of for so long is gone.
MEMBERSHIP = 60 * SECOND
#: A clock that was corrected by a `Date` may still be so far off.
CLOCK_ERROR_MS = 1000
#: So far ahead of the one before, a nonce may come from another clock.
JUMP_MS = 10_000
#: Members without a store leave each in a millisecond of its own, of so many.
SLOTS = 64
SLOT_TOLERANCE_MS = 8
#: So far ahead of the clock, a nonce comes from an earlier clock, and is not waited for.
FAR_AHEAD_MS = 4 * SLOTS
#: A stamp may be this far in the future where two clocks of one machine were read at once.
READING_ERROR = SECOND // 1000

_STAMP = struct.Struct("<q")


class Counter(NamedTuple):
    """The requests in a sliding window, for one limit and one account or address.

    Attributes:
        total: How many requests were ever counted; the next stamp has this number.
        stamps: When the last ones were sent: a ring buffer with eight bytes for each.
        period: The period of the limit, to decide whether this counter is still needed.
        cool_until: Until when nothing may be sent.
        newest: The last stamp, for readers that have not read the ring buffer.
    """

    total: int = 0
    stamps: bytes = b""
    period: int = 0
    cool_until: int = 0
    newest: int = 0

    @property
    def capacity(self) -> int:
        """How many stamps the ring buffer holds."""
        return len(self.stamps) // 8

    def ago(self, count: int) -> int:
        """Return when the `count`-th last request was sent; 0 if there are not so many."""
        if not 0 < count <= self.total or count > self.capacity:
            return 0
        at = (self.total - count) % self.capacity * 8
        stamp: int = _STAMP.unpack_from(self.stamps, at)[0]
        return stamp

    def counted(self, now: int, times: int, room: int, period: int) -> "Counter":
        """Return the counter with `times` more requests and a capacity of at least `room`."""
        counter = self
        if len(self.stamps) < (room + times) * 8:
            counter = self.kept(self.all(), room + times)
        stamps, total, stamp = counter.stamps, counter.total, _STAMP.pack(now)
        for _ in range(times):
            at = total * 8 % len(stamps)
            stamps = b"".join((stamps[:at], stamp, stamps[at + 8 :]))
            total += 1
        return Counter(total, stamps, max(period, self.period), self.cool_until, now)

    def all(self) -> list[int]:
        """Return all stamps, the oldest first."""
        return [self.ago(count) for count in range(min(self.total, self.capacity), 0, -1)]

    def kept(self, stamps: Iterable[int], capacity: int) -> "Counter":
        """Return the counter with these stamps, the oldest first, instead of its own."""
        newest = list(stamps)[-capacity:]
        ring = b"".join(map(_STAMP.pack, newest)).ljust(capacity * 8, b"\0")
        last = newest[-1] if newest else 0
        return self._replace(total=len(newest), stamps=ring, newest=last)

    def with_these(self, stamps: list[int], now: int) -> "Counter":
        """Return the counter with these stamps added, and without those that no longer count."""
        since = now - self.period - LONGEST_SLACK if self.period else 0
        counted = [at for at in self.all() if since < at <= now + READING_ERROR]
        together = sorted([*counted, *stamps])
        return self.kept(together, max(self.capacity, len(together)))

    def written_since(self, old: "Counter") -> tuple[int, bytes] | None:
        """Return the changed bytes of the ring buffer and their offset; None if none changed."""
        if self.stamps is old.stamps:
            return None
        if self.total == old.total + 1 and self.capacity == old.capacity:
            at = old.total % self.capacity * 8
            return at, self.stamps[at : at + 8]
        return 0, self.stamps

    def is_idle(self, now: int) -> bool:
        """Say whether the counter can be deleted without any effect."""
        return max(self.newest + self.period + LONGEST_SLACK, self.cool_until) < now


class Flight(NamedTuple):
    """A request in flight: sent and not answered. Its nonce is 0 if it carries none."""

    token: int
    nonce: int
    left_at: int


class Waiting(NamedTuple):
    """The first request of a process's queue for one limit.

    Attributes:
        token: The token of the request.
        changes: Whether it changes the book.
        since: When it was first asked for.
        ready_at: When its limit has room.
        until: If it has not asked again by then, it has gone.
        needs: How long it and those behind it in its process need to be sent; 0 if it only reads.
        by: When the first of them must have been sent.
    """

    token: int
    changes: bool
    since: int
    ready_at: int
    until: int
    needs: int
    by: int


class Lane(NamedTuple):
    """The nonces of one key, and its requests in flight.

    Attributes:
        last: The largest nonce that counts; the next one is larger.
        accepted: The largest nonce that the exchange is known to have used.
        highest: The largest nonce that was ever given out.
        before_jump: The largest nonce before the last one that was far ahead of its predecessor.
        careful_until: Until then, requests do not overlap.
        overtaken: How many requests that change the book were sent before the read that waits.
        flights: The requests in flight.
        waiting: The requests that wait, of every process.
    """

    last: int = 0
    accepted: int = 0
    highest: int = 0
    before_jump: int = 0
    careful_until: int = 0
    overtaken: int = 0
    flights: tuple[Flight, ...] = ()
    waiting: tuple[Waiting, ...] = ()

    def is_idle(self, now: int, wall_ms: int) -> bool:
        """Say whether the lane can be deleted without any effect."""
        last = max((flight.left_at for flight in self.flights), default=0)
        return last + CAREFUL < now and self.careful_until < now and self.highest < wall_ms


class State(NamedTuple):
    """The part of a store's state that one question needs.

    Attributes:
        counters: The counters that the question names, in its order.
        lane: The lane of the key.
        members: The processes that share the store: the slot of each, and when it was last seen.
    """

    counters: tuple[Counter, ...] = ()
    lane: Lane = Lane()
    members: Mapping[str, tuple[int, int]] = {}


class Window(NamedTuple):
    """A limit as one client counts it.

    Attributes:
        counter: The name of the counter.
        requests: How many requests may be sent within the period: the client's share.
        period: The period, in microseconds.
        room: The full number of the limit, for the size of the ring buffer.
    """

    counter: str
    requests: int
    period: int
    room: int

    @property
    def length(self) -> int:
        """How long a request counts, in microseconds."""
        return self.period + min(LONGEST_SLACK, self.period // 20)


class Question(NamedTuple):
    """What the throttle needs to know about a request before it is sent.

    Attributes:
        token: Identifies the request; asking twice gives the same pass.
        windows: The limits that it counts towards.
        gap: How long after another request of its key it may be sent without waiting for the
            answer.
        changes: Whether it changes the book, or only reads it.
        carries_nonce: Whether its signed bytes hold a nonce.
        in_flight: How many requests may be in flight at once.
        wall_ms: The exchange's time, as far as it is known, in milliseconds since the epoch.
        needs: See `Waiting`.
        spare: How long it is until the first of them must have been sent.
        at_top: Whether the nonce must be larger than any that was ever given out.
        ahead_ms: How far ahead of the clock the nonce is to be, after several collisions.
        slot: If the store has failed: the millisecond of each `SLOTS` in which this member sends.
        weight: How many requests it counts for: if the store has failed, one for each member.
        only_looks: Whether nothing is sent yet: only to learn when it is time to connect.
        again: Whether it had its turn before; then it goes before others of its kind.
    """

    token: int
    windows: tuple[Window, ...]
    gap: int
    changes: bool
    carries_nonce: bool
    in_flight: int
    wall_ms: int
    needs: int = 0
    spare: int = 0
    at_top: bool = False
    ahead_ms: int = 0
    slot: int | None = None
    weight: int = 1
    only_looks: bool = False
    again: bool = False

    def since(self, known: Waiting | None, now: int) -> int:
        """Return since when the request counts as waiting."""
        return 0 if self.again else now if known is None else known.since


class Pass(NamedTuple):
    """The request may be sent now, with this nonce."""

    nonce: int
    left_at: int


class Wait(NamedTuple):
    """The request must wait.

    Attributes:
        microseconds: How long to wait before asking again.
        limit: How long it is until its limit has room, in microseconds; 0 if the limit is not the
            reason.
    """

    microseconds: int
    limit: int = 0


class Fate(Enum):
    """What became of a request that had a pass."""

    UNSENT = "it did not leave"
    USED = "the exchange used its nonce"
    UNKNOWN = "nobody knows"
    CLOCK = "its nonce was refused, and was far from the exchange's time"
    COLLISION = "its nonce was refused, though it was right by the clock"


def enter(state: State, now: int, *, question: Question) -> tuple[State, Pass | Wait]:
    """Decide whether a request may be sent, or how long it must wait before it asks again."""
    lane = _tidied(state.lane, now)
    for flight in lane.flights:
        if flight.token == question.token:
            return state, Pass(flight.nonce, flight.left_at)
    ready_at = _ready_at(state.counters, question, now)
    if ready_at > now:
        verdict = Wait(ready_at - now, ready_at - now)
    elif (busy_until := _busy_until(lane, question, now)) > now:
        verdict = Wait(busy_until - now)
    elif _others_first(lane, question, now):
        verdict = Wait(PATIENCE)
    elif (slot_in := _slot_in_ms(lane, question)) > 0:
        verdict = Wait(slot_in * 1000)
    else:
        return _left(state, lane, question, now)
    return state._replace(lane=_waiting(lane, question, now, ready_at, verdict)), verdict


def leave(
    state: State,
    now: int,
    *,
    token: int,
    given: Pass | None,
    fate: Fate,
    wall_ms: int,
    weight: int = 1,
) -> tuple[State, None]:
    """Finish what `enter` began, whether it gave a pass or not.

    Args:
        state: The state.
        now: The state's time.
        token: The token of the request.
        given: The pass; None if there was none, or if it was lost.
        fate: What became of the request.
        wall_ms: The exchange's time, in milliseconds since the epoch.
        weight: How many requests it was counted for.
    """
    counters, lane = state.counters, state.lane
    if given is None:
        known = [flight for flight in lane.flights if flight.token == token]
        given = Pass(known[0].nonce, known[0].left_at) if known else None
    flights = tuple([flight for flight in lane.flights if flight.token != token])
    waiting = lane.waiting and tuple([each for each in lane.waiting if each.token != token])
    last, accepted, careful_until = lane.last, lane.accepted, lane.careful_until
    if given is not None:
        if fate is Fate.UNSENT:
            counters = tuple(_given_back(counter, given.left_at, weight) for counter in counters)
        elif fate is Fate.USED:
            # Also after a rewind in the meantime: it was used all the same.
            accepted = max(accepted, given.nonce)
            last = max(last, accepted)
        elif fate is Fate.CLOCK and accepted < wall_ms + CLOCK_ERROR_MS:
            last = accepted
        elif fate is Fate.CLOCK and lane.before_jump >= accepted:
            # One was accepted that is ahead. Those after it must not be given out again.
            last = lane.before_jump
        elif fate is Fate.COLLISION:
            careful_until = now + CAREFUL
    lane = Lane(
        last, accepted, lane.highest, lane.before_jump, careful_until, lane.overtaken,
        flights, waiting,
    )  # fmt: skip
    return State(counters, lane, state.members), None


def cool_down(state: State, now: int, *, microseconds: int) -> tuple[State, None]:
    """Send nothing under these counters for so long; a longer wait is not shortened."""
    until = now + microseconds
    counters = (each._replace(cool_until=max(until, each.cool_until)) for each in state.counters)
    return state._replace(counters=tuple(counters)), None


def put_back(state: State, now: int, stamps: Iterable[list[int]], nonce: int) -> State:
    """Count requests that the store has missed or forgotten; the stamps are listed by counter."""
    counters = tuple(
        counter.with_these(own, now) if own else counter
        for counter, own in zip(state.counters, stamps, strict=True)
    )
    lane = state.lane
    highest = max(lane.highest, nonce)
    return state._replace(
        counters=counters, lane=lane._replace(last=max(lane.last, nonce), highest=highest)
    )


def joined(state: State, member: str, wanted: int, now: int) -> State:
    """Record that a member is present, in a slot that no other member has."""
    here = {
        name: (slot, seen)
        for name, (slot, seen) in state.members.items()
        if name != member and 0 <= now - seen < MEMBERSHIP
    }
    taken = {slot for slot, _ in here.values()}
    slot, _ = state.members.get(member, (wanted, 0))
    free = (each % SLOTS for each in range(slot, slot + SLOTS) if each % SLOTS not in taken)
    return state._replace(members={**here, member: (next(free, slot), now)})


def _tidied(lane: Lane, now: int) -> Lane:
    """Return the lane without what is over, and without what a restarted clock has left."""
    if lane.careful_until > now + CAREFUL:
        lane = lane._replace(careful_until=0)
    if not lane.flights and not lane.waiting:
        return lane
    since, latest = now - REMEMBERED, now + READING_ERROR
    flights = [each for each in lane.flights if since < each.left_at <= latest]
    flights = flights[-MOST_REMEMBERED:]
    waiting = [each for each in lane.waiting if each.since <= latest and each.until > now]
    if len(flights) != len(lane.flights) or len(waiting) != len(lane.waiting):
        lane = lane._replace(flights=tuple(flights), waiting=tuple(waiting))
    return lane


def _ready_at(counters: tuple[Counter, ...], question: Question, now: int) -> int:
    """Return when every window has room and no cool-down is left."""
    ready_at = 0
    for counter, window in zip(counters, question.windows, strict=True):
        left_at = counter.ago(max(1, window.requests + 1 - question.weight))
        if 0 < left_at <= now + READING_ERROR:
            ready_at = max(ready_at, left_at + window.length)
        ready_at = max(ready_at, counter.cool_until)
    return ready_at


def _busy_until(lane: Lane, question: Question, now: int) -> int:
    """Return when the requests under way let the next one follow."""
    if not question.carries_nonce:
        return 0
    gap, in_flight = question.gap, question.in_flight
    if lane.careful_until > now:
        gap, in_flight = max(gap, CAREFUL_GAP), 1
    if len(lane.flights) < in_flight:
        return 0
    until = sorted(
        [each.left_at + gap for each in lane.flights if each.nonce and each.left_at + gap > now]
    )
    return until[len(until) - in_flight] if len(until) >= in_flight else 0


def _others_first(lane: Lane, question: Question, now: int) -> bool:
    """Say whether somebody else who may leave now goes first."""
    if not lane.waiting:
        return False
    others = [
        each for each in lane.waiting if each.token != question.token and each.ready_at <= now
    ]
    if not others:
        return False
    known = next((each for each in lane.waiting if each.token == question.token), None)
    readings = any(not each.changes for each in others) or not question.changes
    due = readings and lane.overtaken >= MOST_BEFORE_A_READING
    if due:
        # Unless what changes the book, of all processes, needs all the time that is left for it.
        needs = [(each.needs, each.by) for each in others if each.needs]
        needs += [(question.needs, now + question.spare)] if question.needs else []
        due = not needs or min(by for _, by in needs) - now >= sum(need for need, _ in needs)
    rank = (question.changes is due, question.since(known, now), question.token)
    return any((each.changes is due, each.since, each.token) < rank for each in others)


def _slot_in_ms(lane: Lane, question: Question) -> int:
    """Return how long until the member's own millisecond, where nobody orders the nonces."""
    if question.slot is None or not question.carries_nonce:
        return 0
    last = lane.highest if question.at_top else lane.last
    ahead = last - question.wall_ms
    if ahead > FAR_AHEAD_MS:
        return 0
    if ahead >= 0:
        # Not waited for, each request would be a whole turn further ahead than the one before.
        return ahead + 1 + (question.slot - last - 1) % SLOTS
    past = (question.wall_ms - question.slot) % SLOTS
    if past <= SLOT_TOLERANCE_MS and question.wall_ms - past > last:
        return 0
    return SLOTS - past


def _nonce(lane: Lane, question: Question) -> int:
    base = lane.highest if question.at_top else lane.last
    # Members without a store do not jump ahead: it would only leave the others behind.
    ahead_ms = question.ahead_ms if question.slot is None else 0
    nonce = max(question.wall_ms + ahead_ms, base + 1)
    if question.slot is not None:
        past = (nonce - question.slot) % SLOTS
        nonce -= past if past <= SLOT_TOLERANCE_MS and nonce - past > base else past - SLOTS
    return nonce


def _left(state: State, lane: Lane, question: Question, now: int) -> tuple[State, Pass]:
    nonce = _nonce(lane, question) if question.carries_nonce else 0
    if question.only_looks:
        return state, Pass(nonce, now)
    counters = tuple(
        [
            counter.counted(now, question.weight, window.room, window.period)
            for counter, window in zip(state.counters, question.windows, strict=True)
        ]
    )
    waiting = lane.waiting and tuple(each for each in lane.waiting if each.token != question.token)
    overtakes = question.changes and any(not each.changes for each in waiting)
    lane = Lane(
        nonce or lane.last,
        lane.accepted,
        max(nonce, lane.highest),
        lane.last if nonce > lane.last + JUMP_MS else lane.before_jump,
        lane.careful_until,
        lane.overtaken + 1 if overtakes else 0,
        (*lane.flights, Flight(question.token, nonce, now)),
        waiting,
    )
    return State(counters, lane, state.members), Pass(nonce, now)


def _waiting(lane: Lane, question: Question, now: int, ready_at: int, verdict: Wait) -> Lane:
    others = [each for each in lane.waiting if each.token != question.token]
    known = next((each for each in lane.waiting if each.token == question.token), None)
    until = now + verdict.microseconds + PATIENCE
    since = question.since(known, now)
    # In steps, so that asking again does not change what others see.
    by = (now + question.spare) // PATIENCE * PATIENCE
    me = Waiting(question.token, question.changes, since, ready_at, until, question.needs, by)
    if known is not None and known.until >= until - PATIENCE // 2:
        # Asked again so soon, only what others see is worth a write.
        me = me._replace(until=known.until)
        if me == known:
            return lane
    return lane._replace(waiting=(*others, me))


def _given_back(counter: Counter, left_at: int, weight: int) -> Counter:
    stamps = counter.all()
    for _ in range(min(weight, stamps.count(left_at))):
        stamps.remove(left_at)
    return counter if len(stamps) == counter.total else counter.kept(stamps, counter.capacity)
