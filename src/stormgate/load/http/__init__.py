"""HTTP/1.1 on a socket that is never waited for."""
