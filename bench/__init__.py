"""Measurements beside what users would pick instead: ratios and counts within one run, no timed test."""
