"""What capstone says about an instruction, in the plugin's terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import capstone
from capstone import arm64_const, x86_const

PLAIN, STACK, RMW, EXEC, MARK = range(5)
"""enum sd_insn_kind"""
(
    NONE, XCHG, CMPXCHG, STXR, LDXR, FETCH_ADD, FETCH_AND, FETCH_OR, FETCH_XOR,
    ADD_FETCH, AND_FETCH, OR_FETCH, XOR_FETCH, OTHER,
) = range(14)  # fmt: skip
"""enum sd_rmw"""
NO_REG: Final = 0xFF
RIP: Final = 0x40


@dataclass(frozen=True)
class Answer:
    """A line of the decoder."""

    kind: int
    rmw: int
    reg: int
    base: int
    index: int
    scale: int
    disp: int
    mark: int
    events: tuple[tuple[int, ...], ...] = ()
    """Kind, id, a, b, c, d, level and flags of what running it reports."""
    epochs: int = 0
    """How often running it moved the observers' epoch."""

    @classmethod
    def parse(cls, line: str) -> Answer:
        """A line that decode.c prints."""
        head, *events, epochs = line.split("|")
        kind, rmw, reg, base, index, scale, disp, mark = map(int, head.split())
        fields = tuple(tuple(int(word, 0) for word in event.split()) for event in events)
        return cls(kind, rmw, reg, base, index, scale, disp, mark, fields, int(epochs))


def engine(arch: str) -> capstone.Cs:
    """A disassembler with details."""
    mode = {
        "x86_64": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
        "arm64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN),
    }[arch]
    cs = capstone.Cs(*mode)
    cs.detail = True
    return cs


# --- x86-64 ------------------------------------------------------------------------------------

_X86_ORDER: Final = (
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
)  # fmt: skip
_X86_LOCKED: Final = {
    "add": ADD_FETCH, "adc": ADD_FETCH, "sbb": ADD_FETCH, "inc": ADD_FETCH, "dec": ADD_FETCH,
    "sub": FETCH_ADD, "xadd": FETCH_ADD, "and": AND_FETCH, "or": OR_FETCH,
    "xor": XOR_FETCH, "not": XOR_FETCH, "bts": FETCH_OR, "btr": FETCH_AND, "btc": FETCH_XOR,
    "cmpxchg": CMPXCHG, "xchg": XCHG, "neg": OTHER, "cmpxchg8b": OTHER, "cmpxchg16b": OTHER,
}  # fmt: skip
"""What target/i386/tcg/emit.c.inc of QEMU 10.0 reports for a locked instruction."""
_X86_EXEC: Final = {"sysret", "sysretq", "iret", "iretd", "iretq", "invlpg", "invpcid"}


def _x86_memory(insn: Any) -> list[Any]:
    return [o for o in insn.operands if o.type == x86_const.X86_OP_MEM]


def _x86_number(insn: Any, reg: int) -> int:
    name = insn.reg_name(reg) if reg else "riz"
    if name == "riz":
        return NO_REG
    return RIP if name == "rip" else _X86_ORDER.index(name) if name in _X86_ORDER else -1


def _x86_objection(insn: Any, answer: Answer) -> str:
    name = insn.mnemonic.split()[-1]
    memory = _x86_memory(insn)
    away = [o for o in memory if insn.reg_name(o.mem.base) != "rsp"]
    locked = 0xF0 in insn.prefix or (name == "xchg" and bool(memory))
    control = name == "mov" and insn.op_str.startswith(("cr3,", "cr4,"))
    if (answer.kind == EXEC) != (name in _X86_EXEC or control):
        return "reported when it runs?"
    if answer.kind == EXEC:
        return ""
    if locked != (answer.kind == RMW):
        return "an atomic?"
    if locked and answer.rmw != _X86_LOCKED.get(name, answer.rmw):
        return "which atomic?"
    if answer.kind == STACK and away and name not in ("push", "call"):
        return "stores elsewhere than to the stack"
    return ""


def _x86_operand(insn: Any, answer: Answer) -> str:
    """The operand of an instruction whose address is worked out."""
    (memory,) = (o.mem for o in _x86_memory(insn))
    disp = (memory.disp + (1 << 31)) % (1 << 32) - (1 << 31)
    said = (_x86_number(insn, memory.base), _x86_number(insn, memory.index), disp)
    found = (answer.base, answer.index, answer.disp)
    if said != found or (answer.index != NO_REG and memory.scale != 1 << answer.scale):
        return f"operand {found} scale {answer.scale}, not {said} scale {memory.scale}"
    return ""


# --- arm64 -------------------------------------------------------------------------------------

_ARM_FETCH: Final = {"add": FETCH_ADD, "clr": FETCH_AND, "eor": FETCH_XOR, "set": FETCH_OR}
_ARM_ATOMICS: Final = (
    ("casp", OTHER),
    ("cas", CMPXCHG),
    ("swp", XCHG),
    (("ldsm", "ldum", "stsm", "stum"), OTHER),
    (("stxr", "stlxr", "stxp", "stlxp"), STXR),
    (("ldxr", "ldaxr", "ldxp", "ldaxp"), LDXR),
)
"""By what the name begins with."""
_ARM_EXEC: Final = {"tlbi", "dsb", "isb", "eret", "eretaa", "eretab"}


def _arm_rmw(name: str) -> int:
    """The atomic that an instruction of this name is; NONE for any other."""
    if name[:2] in ("ld", "st") and name[2:5] in _ARM_FETCH:
        return _ARM_FETCH[name[2:5]]
    return next((rmw for starts, rmw in _ARM_ATOMICS if name.startswith(starts)), NONE)


def _arm_open(insn: Any) -> bool:
    """Whether any answer will do.

    FEAT_MOPS: QEMU has no callbacks for it. Literals: nothing is stored. Invalidations of other
    exception levels, or without a name in capstone.
    """
    name, operands = insn.mnemonic, insn.op_str
    literal = name in ("ldr", "ldrsw", "prfm") and "[" not in operands
    foreign = name == "tlbi" and ("e3" in operands or "paall" in operands)
    nameless = name == "sys" and operands[4:6] in ("c8", "c9")
    return name.startswith(("cpy", "set")) or literal or foreign or nameless


def _arm_objection(insn: Any, answer: Answer) -> str:
    name = insn.mnemonic
    memory = [o for o in insn.operands if o.type == arm64_const.ARM64_OP_MEM]
    on_stack = bool(memory) and all(insn.reg_name(o.mem.base) == "sp" for o in memory)
    if _arm_open(insn):
        return ""
    root = name == "msr" and insn.op_str.startswith(("ttbr0_el1,", "ttbr1_el1,"))
    if (answer.kind == EXEC) != (name in _ARM_EXEC or root):
        return "reported when it runs?"
    if answer.kind == STACK and not on_stack:
        return "not on the stack"
    rmw = NONE if on_stack else _arm_rmw(name)
    if (answer.kind == RMW) != (rmw != NONE) or (rmw and answer.rmw != rmw):
        return "which atomic?"
    return ""


_OBJECTION: Final = {"x86_64": _x86_objection, "arm64": _arm_objection}


def memory_operands(insn: Any) -> int:
    """How many memory operands an x86 instruction has."""
    return len(_x86_memory(insn))


def objection(arch: str, insn: Any, answer: Answer) -> str:
    """What is wrong with the answer about a capstone instruction; empty when nothing is."""
    if arch == "x86_64" and len({0xF0, 0xF2, 0xF3} & set(insn.bytes[:6])) > 1:
        return ""  # maybe two prefixes of one group, which is undefined
    return _OBJECTION[arch](insn, answer)


def operand(insn: Any, answer: Answer) -> str:
    """What is wrong with the memory operand that was decoded from an x86 instruction."""
    return _x86_operand(insn, answer)
