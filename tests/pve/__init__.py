"""`just test-pve`: the scenario that runs on the stand-in, on a real node, in a pool of its own."""
