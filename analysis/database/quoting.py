"""Text and names in SQL: each is quoted here, wherever a statement is put together."""


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """The name of a table or column as SQL writes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'
