"""Who held which lock at the store that a finding is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from shootdown.model.holders import Holders, Moment, wanted
from shootdown.model.pagetables import PAGE_SIZE
from shootdown.rules.feed import Feed
from shootdown.rules.violation import Violation
from shootdown.trace.columns import are
from shootdown.trace.schema import Kind
from shootdown.trace.types import Events


def held(
    firsts: Mapping[str, Violation], named: Events, feed: Feed
) -> dict[str, list[dict[str, object]]]:
    """By fingerprint: the holders (``model.holders.Held``) at the moment of the finding's store.

    ``named`` are the events that the findings rest on.
    """
    moments = {mark: _moment(violation, named) for mark, violation in firsts.items()}
    events = feed.chosen(lambda part: wanted(part, list(moments.values())))
    holders = Holders(events)
    return {mark: [asdict(one) for one in holders.at(at)] for mark, at in moments.items()}


def _moment(violation: Violation, named: Events) -> Moment:
    """When and where: the first store among the events of a finding, or its last event."""
    mine = named[np.isin(named["seq"], np.array(violation.seq, np.uint64))]
    stores = mine[are(mine["kind"], Kind.PTE_WRITE)]
    seq = int(stores["seq"][0]) if len(stores) else violation.seq[-1]
    slot = int(stores["a"][0]) if len(stores) else 0
    return Moment(seq, violation.mm, slot & -PAGE_SIZE, violation.va)
