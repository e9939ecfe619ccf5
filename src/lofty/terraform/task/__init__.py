"""`iterative_task`: a script on machines of any cloud, as terraform-provider-iterative (the predecessor) had it.

identity      names that find a task again
words         the predecessor's words for a machine, as options of lofty
environment   the variables of a script
storage       the directory that goes along, and what comes back
results       what is shown of a task
journal       what this computer was making when it died
declaration   the arguments
resource      terraform's verbs
"""
