from shootdown.model.stream import Sequel, stream, whole
from shootdown.rules.feed import windows
from shootdown.trace.parts import pieces, split
from shootdown.trace.schema import Kind
from shootdown.trace.text import parse

EVENTS = parse("""\
0 ARMED
1 OBS a=0x1000
0 OBS a=0x1000
1 WATCH id=MMAP_LOCK
1 WATCH id=IS_LAZY
1 OBS a=0x1000 flags=LAST
1 PTE_WRITE d=0xffff800000000000
1 PTE_WRITE d=0x1000
1 TABLE_LINK c=0xffff800000000000
""")


def test_left_out_events_still_count_as_predecessors():
    kinds = (Kind.OBS, Kind.WATCH, Kind.PTE_WRITE, Kind.TABLE_LINK)
    assert [(e.seq, e.prev) for e in stream(EVENTS, kinds)] == [(2, 0), (3, 1), (5, 4), (8, 7)]


def test_sequel_is_the_next_record_of_every_other_cpu():
    sequel = Sequel(whole(EVENTS))
    assert [(e.cpu, e.seq, e.prev) for e in sequel.next_of_others(0, 3)] == [(1, 4, 2)]
    assert [(e.cpu, e.seq) for e in sequel.next_of_others(1, 2)] == [(0, 3)]
    assert list(sequel.next_of_others(1, 3)) == []


def test_sequel_is_the_same_in_pieces_of_any_size():
    all_at_once = Sequel(whole(EVENTS))
    for size in range(1, len(EVENTS) + 1):
        parts = split(EVENTS)
        for window in windows(pieces(parts, size), parts):
            sequel = Sequel(window)
            for seq in (int(s) for part in window.parts.values() for s in part["seq"]):
                for cpu in (0, 1, 2):
                    assert sequel.next_of(cpu, seq) == all_at_once.next_of(cpu, seq)
