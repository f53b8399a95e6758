"""Text and tables that the commands print. No decisions are made here."""
