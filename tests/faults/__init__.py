"""What becomes of a run when something goes wrong outside it: python -m tests.faults, or `make faults`.

A run of the notebooks at a small scale is killed, left without room on the disk, given damaged files, a wrong clock, a
signal, or company; then it goes on. What it ends with is compared, byte for byte, with an undisturbed run.
"""
