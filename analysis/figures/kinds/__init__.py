"""A module for each figure: its SQL, options, selection and drawing."""
