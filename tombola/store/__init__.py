"""The store: each result exactly once, with weights, masks, sweeps and the journal."""
