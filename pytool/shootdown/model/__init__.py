"""Pure functions of the event stream: page tables, TLBs, locks, tasks, and the audit."""
