from shootdown.model.stream import stream
from shootdown.model.vma_map import WORDS, VmaMap
from shootdown.trace.schema import Kind
from shootdown.trace.text import parse

MM = 0xFFFF888000AA0000
ONE, TWO = 0xFFFF888000660000, 0xFFFF888000670000


def born(base: int, start: int, end: int, flags: int = 0) -> str:
    words = (("START", start), ("END", end), ("MM", MM), ("FLAGS", flags))
    lines = [f"0 WATCH_INIT id=VMA_{name} c={value:#x} d={base:#x}" for name, value in words]
    return "\n".join(lines)


def built(text: str) -> VmaMap:
    vmas = VmaMap()
    for event in stream(parse(text), (Kind.WATCH, Kind.WATCH_INIT), WORDS):
        vmas.tell(event)
    return vmas


def flags(vmas: VmaMap, va: int) -> int | None:
    vma = vmas.at(MM, va)
    return vma.flags if vma else None


def test_the_last_one_written_counts():
    vmas = built(born(ONE, 0x1000, 0x4000, 1) + "\n" + born(TWO, 0x2000, 0x3000, 2))
    assert [flags(vmas, va) for va in (0xFFF, 0x1000, 0x2000, 0x2FFF, 0x3000, 0x4000)] == [
        *(None, 1, 2, 2, 1, None),
    ]
    assert vmas.at(MM + 1, 0x1000) is None


def test_ranges_and_flags_change():
    text = born(ONE, 0x1000, 0x4000, 1)
    text += f"\n0 WATCH id=VMA_START b=0x1000 c=0x2000 d={ONE:#x}"
    text += f"\n0 WATCH id=VMA_FLAGS b=1 c=9 d={ONE:#x}"
    vmas = built(text)
    assert [flags(vmas, va) for va in (0x1000, 0x2000)] == [None, 9]


def test_the_dead_are_not_found():
    vmas = built(born(ONE, 0x1000, 0x4000, 1))
    assert flags(vmas, 0x1000) == 1
    vmas.died(ONE)
    assert flags(vmas, 0x1000) is None
    assert vmas.of(ONE) is None
    vmas.died(ONE)


def test_words_of_one_whose_birth_was_not_seen():
    vmas = built(f"0 WATCH id=VMA_START c=0x1000 d={ONE:#x}\n0 WATCH id=VMA_END c=-1 d={ONE:#x}")
    assert vmas.of(ONE) is None
