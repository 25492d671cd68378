"""What is on a machine besides what is declared: looking (one script), reading, judging. Pure.

Nothing here changes anything: the script only reads, slow pieces run at the lowest priority and
end by themselves. What Debian makes itself is no news (:mod:`.ordinary`).
"""
