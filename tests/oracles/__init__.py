"""Oracles: literal computations from the papers, never imported by the library."""
