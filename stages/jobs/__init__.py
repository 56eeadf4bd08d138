"""A batch as data: its jobs, the table they come from, the folder they are kept in, and what runs them.

``engines`` run any function of plain data in workers; what a worker does is ``stages.batch.work``.
"""
