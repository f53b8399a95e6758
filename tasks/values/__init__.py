"""The expressions that name each result, and their keys. Imports nothing heavy."""
