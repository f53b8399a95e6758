"""The order of tasks, and the reaction to failures. Pure functions and state machines."""
