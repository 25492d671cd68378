"""The command line: arguments in, text and exit codes out. The only place that prints.

Here: parsing, asking, signals, rendering, exit codes. Not here: anything that knows what a layer
does; all of that is reached through :mod:`lab.api`, as by every other program.

Modules that ``lab --help`` or a completion needs import click and nothing else; the rest is loaded
when a command really runs (:mod:`lab.cli.lazy`).
"""
