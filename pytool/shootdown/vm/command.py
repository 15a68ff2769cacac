"""The QEMU command line of a guest, as a pure function of its configuration."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shootdown.arch.base import Arch
from shootdown.errors import UsageError

Thread = Literal["multi", "single"]

# Above this x86's RAM would be split around the PCI hole; the memory view wants it in one piece.
MAX_MEM_MIB = 2048
MIN_MEM_MIB = 128
MAX_SMP = 8

# panic=-1 turns a panic into a reboot at once, which -no-reboot turns into QEMU's exit;
# oops=panic does so for every oops, or a workload would just see itself killed.
# 2**N ns of the guest's time are one instruction; an idle guest's time jumps to its next timer.
ICOUNT = "shift=5,align=off,sleep=off"

_CMDLINE = ("panic=-1", "oops=panic", "quiet")


@dataclass(frozen=True, kw_only=True)
class GuestConfig:
    """Everything that decides how a guest starts.

    Raises UsageError when a number is out of range.
    """

    arch: Arch
    kernel: Path
    """Bootable kernel image (bzImage, Image, possibly compressed)."""
    initramfs: Path
    """cpio archive with the agent as /init."""
    run_dir: Path
    """Run directory; console.log, agent.log and trace/ are written there."""
    smp: int = 2
    """Number of vCPUs."""
    mem_mib: int = 512
    """RAM in MiB."""
    thread: Thread = "multi"
    """TCG threads: one per vCPU, or a single one for all (a total order of events)."""
    seed: int = 1
    """Seed of QEMU's random numbers, unsigned 64 bits."""
    plugin: Path | None = None
    """The plugin's shared object; None runs plain TCG."""
    plan: Path | None = None
    """The plugin's plan, a file."""
    cmdline: tuple[str, ...] = ()
    """Kernel arguments after the default profile's; for most arguments the last one wins."""
    qemu_args: tuple[str, ...] = ()
    """More QEMU arguments, of a profile."""
    deterministic: bool = False
    """Whether the guest's time is counted in instructions, so that it is the same in every run;
    wants ``thread`` single."""
    commands: tuple[str, ...] = ()
    """Lines of the guest's ``/commands``, which its agent obeys first: no host decides when."""
    gdb: bool = False
    """Whether QEMU serves its gdbstub."""
    monitor: bool = False
    """Whether QEMU serves QMP to others as well."""
    start_paused: bool = False
    """Whether the vCPUs wait for Guest.resume() before the first instruction."""
    incoming: bool = False
    """Whether QEMU waits for a saved state (Guest.restore()) instead of booting; wants
    ``start_paused``."""

    def __post_init__(self) -> None:
        _in_range("vCPUs", self.smp, 1, MAX_SMP)
        _in_range("MiB of guest memory", self.mem_mib, MIN_MEM_MIB, MAX_MEM_MIB)
        _in_range("seed", self.seed, 0, 2**64 - 1)

    @property
    def trace_dir(self) -> Path:
        """Where the plugin writes its traces."""
        return self.run_dir / "trace"


@dataclass(frozen=True)
class Sockets:
    """Paths of the unix sockets of one guest; the kernel limits each to 107 bytes."""

    directory: Path

    @property
    def qmp(self) -> Path:
        """Where QEMU finds our QMP listener."""
        return self.directory / "qmp"

    @property
    def agent(self) -> Path:
        """Where QEMU finds our listener for the guest's second serial port."""
        return self.directory / "agent"

    @property
    def gdb(self) -> Path:
        """Where QEMU's gdbstub listens."""
        return self.directory / "gdb"

    @property
    def monitor(self) -> Path:
        """Where QEMU listens for QMP, for others than us."""
        return self.directory / "monitor"


def kernel_cmdline(config: GuestConfig) -> str:
    """Arguments the guest's kernel is booted with, separated by spaces."""
    machine = config.arch.machine
    words = (
        f"console={machine.console}",
        *_CMDLINE,
        *machine.cmdline,
        f"shootdown.agent={machine.agent}",
        *config.cmdline,
    )
    return " ".join(words)


def command(config: GuestConfig, sockets: Sockets) -> list[str]:
    """Build the argument list that starts QEMU, program name first.

    The console goes to QEMU's standard output. QMP and the agent's port connect to listeners of
    ours at start, so they must exist; the gdbstub listens itself.
    """
    return [
        config.arch.machine.qemu,
        *("-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot"),
        *("-name", "shootdown,debug-threads=on"),
        *config.arch.machine.args,
        *("-cpu", ",".join(config.arch.machine.cpu)),
        *("-accel", f"tcg,thread={config.thread}"),
        *(("-icount", ICOUNT) if config.deterministic else ()),
        *("-smp", str(config.smp)),
        *_memory(config),
        *_deterministic(config),
        *_channels(config, sockets),
        *("-kernel", str(config.kernel), "-initrd", str(config.initramfs)),
        *("-append", kernel_cmdline(config)),
        *_plugin(config),
        *(("-gdb", f"unix:{_escape(sockets.gdb)},server=on,wait=off") if config.gdb else ()),
        *(
            ("-qmp", f"unix:{_escape(sockets.monitor)},server=on,wait=off")
            if config.monitor
            else ()
        ),
        *(("-S",) if config.start_paused else ()),
        *(("-incoming", "defer") if config.incoming else ()),
        *config.qemu_args,
    ]


def line(config: GuestConfig) -> str:
    """The same as a shell would take it, with DIR for what a run makes for itself."""
    return shlex.join(command(config, Sockets(Path("DIR"))))


def _memory(config: GuestConfig) -> tuple[str, ...]:
    # Shared, so that the plugin and GuestMemory can map the guest's physical memory.
    backend = f"memory-backend-memfd,id=ram,size={config.mem_mib}M,share=on"
    return ("-m", f"{config.mem_mib}M", "-object", backend, "-machine", "memory-backend=ram")


def _deterministic(config: GuestConfig) -> tuple[str, ...]:
    return ("-seed", str(config.seed), "-rtc", "base=2020-01-01,clock=vm")


def _channels(config: GuestConfig, sockets: Sockets) -> tuple[str, ...]:
    # A byte costs a socket so much memory that it may refuse some hundreds. The serial port then
    # tries again when the host is ready, which is to decide nothing; a pipe takes them all.
    socket = f"socket,id=agent,path={_escape(sockets.agent)},server=off"
    pipe = f"pipe,id=agent,path={_escape(sockets.agent)}"
    return (
        *("-chardev", f"socket,id=qmp,path={_escape(sockets.qmp)},server=off"),
        *("-mon", "chardev=qmp,mode=control"),
        # The console is a pipe, not a file, so that a flood can be cut off.
        *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
        *("-chardev", pipe if config.deterministic else socket),
        *("-serial", "chardev:agent"),
    )


def _plugin(config: GuestConfig) -> tuple[str, ...]:
    if config.plugin is None:
        return ()
    plan = f",plan={_escape(config.plan)}" if config.plan else ""
    return ("-plugin", f"{_escape(config.plugin)}{plan},out={_escape(config.trace_dir)}")


def _escape(path: Path) -> str:
    # In QEMU's option lists a comma ends a value, two commas are one.
    return str(path).replace(",", ",,")


def _in_range(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UsageError(f"{value} is no valid number for {what}: choose {low} to {high}")
