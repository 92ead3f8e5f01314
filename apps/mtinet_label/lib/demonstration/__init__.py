"""Everything that ``make serve`` needs besides the server: phantom studies, a PACS, processes that end together."""
