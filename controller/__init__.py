"""The controller: carries out deployments step by step, and has the operations that people ask for."""
