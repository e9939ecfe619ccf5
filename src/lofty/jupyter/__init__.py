"""What is to run: the recipe of a workspace and of a job, as the `Process`es of a `TaskSpec`.

`inside/` holds the files that run within the Jupyter environment; they know nothing of the rest of lofty.
"""
