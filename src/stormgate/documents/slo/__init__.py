"""SLOs as OpenSLO v1 writes them, and what a gate takes from them."""
