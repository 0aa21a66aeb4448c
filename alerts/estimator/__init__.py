"""State estimation: which measurement contradicts all others, and whether power is really missing.

Pure: measurements of one instant in, a ranked diagnosis out. What it computes and why is in
``docs/estimator.md``.
"""
