"""How a version that has traffic is judged."""
