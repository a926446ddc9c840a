"""Subcommands that belong to no single part: each reads its arguments, calls a part, and turns the
result into an exit code.
"""
