"""The tables of the experiment grid: from run folders to Markdown, CSV and one HTML page."""
