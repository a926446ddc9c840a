"""From a schedule to answers: streams, attempts, connections, steering. Knows no Locust."""
