"""The sweep file: what is asked, as trials."""
