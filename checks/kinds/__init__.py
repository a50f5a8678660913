"""Kinds of checks, one file each.

Recipe to add one: a file here with a class that follows `base.Check` (its `kind` a Literal), its name in the union
of `checks.spec`, one case in tests/checks/kinds, and a fault in `checks.mutate` that only it finds.
"""
