from shootdown.model.stream import stream
from shootdown.model.tasks import Tasks, text
from shootdown.trace.schema import Kind
from shootdown.trace.text import parse

NUMBERS = {"mmap": 9, "munmap": 11}


def follow(lines: str) -> tuple[Tasks, list]:
    """The tasks after some events, and the calls that ended."""
    tasks, ended = Tasks(NUMBERS), []
    handlers = {
        Kind.PROBE: lambda event: tasks.probe(event, 0x10000),
        Kind.PROBE_MORE: tasks.probe_more,
        Kind.RET_USER: lambda event: ended.append(tasks.return_to_user(event)),
        Kind.WATCH: tasks.watch,
        Kind.MARK: tasks.mark,
    }
    for event in stream(parse(lines), handlers):
        handlers[event.kind](event)
    return tasks, ended


MMAP = """\
0 PROBE id=TASK_SWITCH a=0x100 b=100 c=100 d=0xaa flags=MORE
0 PROBE_MORE id=TASK_SWITCH a=0x72657070616d
0 PROBE id=SYSCALL a=9 b=0x400000 c=0x1000 d=3 flags=MORE
0 PROBE_MORE id=SYSCALL a=0x32 b=5 c=6
"""


def test_call_with_all_its_arguments():
    tasks, ended = follow(MMAP + "0 RET_USER a=0x400000")
    (call,) = ended
    assert call.name == "mmap"
    assert call.args == [0x400000, 0x1000, 3, 0x32, 5, 6]
    assert (call.seq, call.end, call.result, call.root) == (3, 5, 0x400000, 0x10000)
    assert str(tasks.cpu(0).task) == "mapper/100"


def test_only_the_first_return_ends_a_call():
    _, ended = follow(MMAP + "0 RET_USER\n0 RET_USER")
    assert [call is None for call in ended] == [False, True]


def test_call_follows_its_task_to_another_cpu():
    lines = """\
0 PROBE id=TASK_SWITCH a=0x200 b=200
0 RET_USER
1 PROBE id=TASK_SWITCH a=0x100 b=100
1 RET_USER
"""
    _, ended = follow(MMAP + lines)
    assert [call.name if call else None for call in ended] == [None, "mmap"]


def test_task_struct_that_serves_another_task():
    lines = """\
0 PROBE id=TASK_SWITCH a=0x200 b=200
0 PROBE id=TASK_SWITCH a=0x100 b=300
0 RET_USER
"""
    _, ended = follow(MMAP + lines)
    assert ended == [None]


def test_unknown_number_keeps_its_number():
    _, ended = follow("0 PROBE id=SYSCALL a=999\n0 RET_USER")
    assert ended[0].name == "999"


def test_more_without_its_probe_is_ignored():
    tasks, _ = follow("0 PROBE_MORE id=SYSCALL a=1\n0 PROBE_MORE id=TASK_SWITCH a=1")
    assert tasks.calls == 0


def test_lazy_word_belongs_to_the_cpu_it_names():
    tasks, _ = follow("0 WATCH id=IS_LAZY c=1 d=2")
    assert [tasks.cpu(cpu).lazy for cpu in (0, 2)] == [False, True]


def test_thread_names_itself():
    tasks, _ = follow(MMAP + "0 MARK id=THREAD a=0x726576726573626f b=0x30")
    assert tasks.cpu(0).task.name == "observer0"


def test_text_is_cut_at_nul_and_untrusted():
    assert text(0x6261, 0x63) == "ab"
    assert text(0xFF61, 0) == "a\N{REPLACEMENT CHARACTER}"
