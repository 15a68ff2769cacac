"""What a recording needs, once it was found."""

from __future__ import annotations

from dataclasses import dataclass

from shootdown.arch import Arch
from shootdown.kernel.facts import KernelFacts
from shootdown.run.experiment import Experiment
from shootdown.vm.command import GuestConfig
from shootdown.vm.snapshot import Snapshot


@dataclass(frozen=True)
class Prepared:
    """An experiment whose kernel and built files were found."""

    experiment: Experiment
    arch: Arch
    facts: KernelFacts
    config: GuestConfig
    snapshot: Snapshot | None = None
    """What the guest starts from; None boots it."""
