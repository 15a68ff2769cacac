"""GUP: which pages the kernel took a reference of or pinned, for whom, and how many pins are left.

A page is taken in ``try_grab_page``, ``try_grab_folio`` or ``try_grab_folio_fast``, and given
back in ``gup_put_folio``; ``folio_add_pin`` adds to what is there (mm/gup.c). Where a compiler put
``gup_put_folio`` into ``unpin_user_page``, ``unpin_user_folio`` or ``unpin_folio``, no call of it
is seen within these, and they are the event themselves. Which bit of the flags is FOLL_PIN the
kernel's types tell; up to 6.2 it is a macro, and what ``gup_put_folio`` is given by unpin functions
is it.

Pins of the zero page are counted here and not by the kernel (``is_zero_folio``).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from shootdown.model.gup_records import (
    ADDS,
    ALL,
    CALLS,
    GET,
    GRABS,
    HALF,
    INNER,
    PIN,
    SINGLE,
    UNPINS,
    Call,
    Gup,
    Pin,
    head,
)
from shootdown.model.known import Known
from shootdown.model.running import Running
from shootdown.trace.columns import any_of
from shootdown.trace.functions import Function
from shootdown.trace.schema import Flag, Kind
from shootdown.trace.types import Events


def gup(events: Events, known: Known) -> Gup:
    """All of GUP; ``events``: in the order of ``seq``, at least probes and kinds of calls."""
    kinds = any_of(events["kind"], (Kind.ENTER, Kind.ENTER_MORE, Kind.EXIT))
    kept = events[kinds & any_of(events["id"], ALL)]
    reader = _Reader(known)
    tasks = Running(events).of(kept).tolist()
    names = ("kind", "id", "seq", "icount", "pc", "cpu", "a", "b", "c", "d", "flags")
    columns = [kept[name].tolist() for name in names]
    more: dict[int, list[_Record]] = {}
    for kind, id, *rest, task in zip(*columns, tasks, strict=True):
        record = _Record._make((kind, id, *rest, task))
        waiting = more.setdefault(record.cpu, [])
        if kind == Kind.ENTER_MORE and waiting:
            reader.tell(waiting.pop(), (record.a, record.b, record.c, record.d))
        elif kind == Kind.ENTER and record.flags & Flag.MORE:
            waiting.append(record)
        else:
            reader.tell(record, ())
    return reader.close()


class _Record(NamedTuple):
    kind: int
    id: int
    seq: int
    icount: int
    pc: int
    cpu: int
    a: int
    b: int
    c: int
    d: int
    flags: int
    task: int


@dataclass(slots=True)
class _Frame:
    id: int
    sp: int
    by: int
    """The function that this one is in the place of, by jumps: itself when there was none."""
    call: Call | None = None
    pin: Pin | None = None
    puts: int = 0
    """Calls of gup_put_folio within it."""


class _Tail(NamedTuple):
    """A function that ended by a jump to one with this stack pointer."""

    id: int
    sp: int
    pin: Pin


class _Reader:
    def __init__(self, known: Known) -> None:
        self._known = known
        self._gup = Gup(pin_flag=known.constants.get(PIN, 0))
        self._stacks: dict[int, list[_Frame]] = {}
        self._tails: dict[int, _Tail] = {}
        """By task."""
        self._jumps: dict[int, tuple[int, int]] = {}
        """By task, the stack pointer of the function it left last by a jump, and whose place that
        one had."""
        self._true = False
        self._zero: list[Pin] = []
        """Of try_grab_page, what returned 0: false until 6.1, success from then on."""

    def tell(self, record: _Record, more: tuple[int, ...]) -> None:
        """A beginning with all its captures, or an end."""
        frames = self._stacks.setdefault(record.task, [])
        if record.kind == Kind.ENTER:
            self._over(frames, record.a + 1)
            self._follow(record)
            self._enter(frames, record, (record.b, record.c, record.d, *more))
        else:
            self._over(frames, record.a)
            if not frames or (frames[-1].id, frames[-1].sp) != (record.id, record.a):
                self._gup.unpaired += 1
                return
            self._exit(frames.pop(), record)

    def close(self) -> Gup:
        """The trace is over: what its pins come to."""
        self._gup.unpaired += sum(map(len, self._stacks.values()))
        for task in list(self._tails):
            self._settle(task)
        self._gup.pins.sort(key=lambda pin: pin.seq)
        for pin in self._zero if self._true else ():
            pin.event = "failed"
        balance: Counter[int] = Counter()
        for pin in self._gup.pins:
            self._name(pin)
            balance[pin.folio] += pin.refs * {"pin": 1, "unpin": -1}.get(pin.event, 0)
            pin.pins = balance[pin.folio]
        return self._gup

    def _over(self, frames: list[_Frame], sp: int) -> None:
        """Frames below ``sp`` are over, though no end of theirs was seen."""
        while frames and frames[-1].sp < sp:
            frames.pop()
            self._gup.unpaired += 1

    def _enter(self, frames: list[_Frame], record: _Record, values: tuple[int, ...]) -> None:
        jumped = self._jumps.pop(record.task, (0, 0))
        before = jumped[1] if jumped[0] == record.a else 0
        frame = _Frame(record.id, record.a, before or record.id)
        by = frames[0].by if frames else before
        if record.id in CALLS:
            shift = 1 if record.id == Function["__get_user_pages"] else 0
            mm = values[0] if shift else 0
            start, pages, flags = (*values, 0)[shift : shift + 3]
            where = (record.seq, record.icount, record.pc, record.cpu, record.task)
            frame.call = Call(*where, record.id, by, mm, start, pages, flags & HALF)
            self._gup.calls.append(frame.call)
        elif record.id in (*GRABS, *ADDS, *SINGLE, Function.gup_put_folio):
            frame.pin = self._pin(record, by, values)
            if record.id not in SINGLE:
                self._gup.pins.append(frame.pin)
        if record.id == Function.gup_put_folio and frame.pin:
            self._put(frames, frame.pin, before)
        frames.append(frame)

    def _put(self, frames: list[_Frame], pin: Pin, before: int) -> None:
        for frame in frames:
            frame.puts += 1
        caller = before or (frames[-1].id if frames else 0)
        if caller in UNPINS and not self._gup.pin_flag:
            self._gup.pin_flag = pin.flags

    def _pin(self, record: _Record, by: int, values: tuple[int, ...]) -> Pin:
        where = (record.seq, record.icount, record.pc, record.cpu, record.task)
        folio, refs, flags = values[0], 1, 0
        match record.id:
            case Function.try_grab_page:
                folio, flags = head(values[0], values[2:4]), values[1]
            case Function.try_grab_folio | Function.try_grab_folio_fast:
                folio, refs, flags = head(values[0], values[3:5]), values[1], values[2]
            case Function.gup_put_folio:
                refs, flags = values[1], values[2]
            case Function.folio_add_pins | Function.unpin_user_folio:
                refs = values[1]
            case Function.unpin_user_page:
                folio = head(values[0], values[1:3])
        return Pin(*where, record.id, "", folio, refs & HALF, flags & HALF, by)

    def _exit(self, frame: _Frame, record: _Record) -> None:
        pin = frame.pin
        if record.flags & Flag.TAIL:
            self._jumps[record.task] = (frame.sp, frame.by)
        if frame.call:
            frame.call.end = record.seq
            frame.call.result = (record.b & HALF ^ 1 << 31) - (1 << 31)
        elif pin and frame.id in (*GRABS, *SINGLE) and record.flags & Flag.TAIL:
            if not frame.puts:
                self._tails[record.task] = _Tail(frame.id, record.a, pin)
        elif pin and frame.id in GRABS:
            self._grabbed(frame.id, pin, record.b)
        elif pin and frame.id in SINGLE and not frame.puts:
            self._gup.pins.append(pin)
        elif frame.id == Function.try_get_folio:
            tail = self._tails.get(record.task)
            if tail and tail.sp == frame.sp and tail.id in GRABS:
                del self._tails[record.task]
                tail.pin.event = "" if record.b else "failed"

    def _follow(self, record: _Record) -> None:
        """What the task does after a jump tells what was jumped to."""
        tail = self._tails.get(record.task)
        if tail is None:
            return
        if tail.sp != record.a or record.id not in INNER:
            self._settle(record.task)
        elif record.id == Function.gup_put_folio:
            del self._tails[record.task]  # the same again, and there are its flags

    def _settle(self, task: int) -> None:
        """The jump led to what is not recorded."""
        tail = self._tails.pop(task)
        if tail.id in SINGLE:
            self._gup.pins.append(tail.pin)
        else:
            tail.pin.event = "unknown"

    def _grabbed(self, id: int, pin: Pin, result: int) -> None:
        if id == Function.try_grab_page:
            self._true |= result & HALF == 1
            if not result & HALF:
                self._zero.append(pin)
            elif result & HALF != 1:
                pin.event = "failed"
        elif id == Function.try_grab_folio_fast or self._gives_folio:
            pin.event = "" if result else "failed"
        else:
            pin.event = "failed" if result & HALF else ""

    @property
    def _gives_folio(self) -> bool:
        """Whether try_grab_folio() is the older one, which returns the folio."""
        return "try_grab_folio_fast" in self._known.absent

    def _name(self, pin: Pin) -> None:
        if pin.event:
            return
        if pin.function in (*ADDS, *SINGLE):
            pin.event = "pin" if pin.function in ADDS else "unpin"
            return
        back = pin.function == Function.gup_put_folio
        if self._gup.pin_flag and pin.flags & self._gup.pin_flag:
            pin.event = "unpin" if back else "pin"
        elif back:
            pin.event = "put"
        else:
            wants = self._known.constants.get(GET, HALF)
            pin.event = "get" if pin.flags & wants else "none"
