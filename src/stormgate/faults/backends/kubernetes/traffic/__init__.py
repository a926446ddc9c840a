"""Traffic kept from pods: by their Service, by a NetworkPolicy."""
