"""Inline SVG, drawn by hand: every chart is text in the page and has its numbers as a table."""
