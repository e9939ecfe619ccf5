"""What runs on the machine: one program for every cloud and for this computer.

It makes the environments, starts Jupyter or the job as the command lines of the `TaskSpec`, ships their output,
watches deadline and idleness, and reports all of it into the store.
"""
