"""The page: a photograph in the browser, and what a network finds on it."""
