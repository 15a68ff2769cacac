"""The counting guest: what the trace shows, what the source says, what the kernel's witnesses saw.

The workload ``counting`` does one thing after another between marks. For each of these phases
``traced`` counts the page-table stores, flushes and lock transitions of the thread in the trace,
``derived`` says how many there must be by the kernel's source, and ``witness`` what the kernel's
own tracepoints, page map and fault counter make of them. All three must agree exactly.
"""
