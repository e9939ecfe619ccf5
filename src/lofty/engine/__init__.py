"""Order, undo, retry and time: what happens to the resources of a task, and when. Drivers know none of it."""
