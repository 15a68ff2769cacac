"""``make mutate``: change the rules and the model on purpose; every change should be noticed.

mutmut says what can be changed (``mutants``). All tests that judge traces as text run on each
mutant, until one fails; none boots a guest (``judge``). A mutant that no test notices but mypy
refuses is noticed too, for ``make lint`` is part of ``make test`` (``types``). All mutants take
hours, so a sample is drawn: with the same seed a larger one holds the smaller one, and outcomes are
kept until a source or a test changes (``outcomes``).
"""
