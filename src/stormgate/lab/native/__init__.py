"""PostgreSQL and what it leaves in shared memory."""
