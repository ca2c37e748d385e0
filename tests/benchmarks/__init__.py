"""How near each thing is to what it cannot do without: ratios of times taken in one run, never seconds alone.

`make bench` (python -m tests.benchmarks) measures, prints a table, writes it to figures/benchmarks.json and draws it;
`make bench COMPARE=1` writes nothing and fails where an interval excludes the committed ratio for the worse.
No test asserts a time. Run it on an idle machine, alone.
"""
