"""Chaos: workers, supervisors and commands die and freeze at random, the disk fills, and no job may be lost.

By hand `python -m tests.chaos --minutes 30`; a few seconds of it are a test, test_chaos.
"""
