"""Proof that nothing acknowledged is lost: real processes, real faults, and an exact ledger to judge them by.

A *subject* is a process that ingests from sources with a ledger; a *fault* strikes it; an *audit* compares
what is stored with the ledger afterwards. ``./run prove`` runs all of them at full size.
"""
