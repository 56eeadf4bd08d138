"""Campaigns: faults in numbers, on purpose. ``python -m tests.campaigns NAME`` runs one, ``make campaign`` all."""
