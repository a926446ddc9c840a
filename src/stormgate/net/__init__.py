"""Every way out of this process: may we, where to, does it answer, is it healthy."""
