"""Pure data that all of Strata speaks in. No I/O, no lab files, no layers: values only."""
