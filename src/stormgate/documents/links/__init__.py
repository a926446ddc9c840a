"""The links of a target document: who talks to whom, and where a Toxiproxy stands between them."""
