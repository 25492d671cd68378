"""The kinds of things an operating system is made of: one pure module each, no I/O.

A kind says what is wanted, how to look (a fragment of POSIX sh), how to read the answer, what the
difference is, and how to remove it (steps of POSIX sh). :mod:`.kind` is what they have in common.
"""
