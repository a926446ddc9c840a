"""The live page: a run followed in a browser while it goes on, from its growing evidence."""
