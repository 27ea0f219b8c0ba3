"""`/api/v1`, REST over `controller.service`: one table of routes, their handlers, and what these share."""
