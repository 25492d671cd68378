"""Short words of ``system:`` that stand for several things: each says which.

A recipe is a pure module with ``expand(system)``: it returns further sections of ``system``, as
a person would have written them in YAML. They are validated and converged like any others, so a
plan names the real files, packages and services.
"""
