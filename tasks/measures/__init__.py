"""Measurements of a run or a mask."""
