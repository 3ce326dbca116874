"""The page of a study: tables, figures and raw rows of whatever is finished, question by question."""
