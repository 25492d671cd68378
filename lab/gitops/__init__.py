"""Git as the lab's source of truth: a pushed commit becomes a plan and a converge of its hosts.

Here belongs what turns a commit into runs: reading it out of a repository, finding the hosts that
it touches, the queue, approvals, trials, polling, webhooks and notices. What a run does is the
library's (``lab.api``); nothing here prints.
"""
