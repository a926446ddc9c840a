"""One pod: a small HTTP server that says who it is and where."""

import ctypes
import signal
import socket
import sys
import threading

ADDRESS, PORT, NAME, ZONE, REGION = sys.argv[1:6]
BODY = b'{"ok": true}'
ANSWER = (
    f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n"
    f"x-pod: {NAME}\r\nx-zone: {ZONE}\r\nx-region: {REGION}\r\n\r\n"
).encode() + BODY


def serve(connection):
    data = b""
    while True:
        got = connection.recv(65536)
        if not got:
            return
        data += got
        while b"\r\n\r\n" in data:
            data = data.partition(b"\r\n\r\n")[2]
            connection.sendall(ANSWER)


def safely(connection):
    try:
        with connection:
            serve(connection)
    except OSError:
        pass


ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # it dies with its node
listener = socket.create_server((ADDRESS, int(PORT)), backlog=128)
print("listening", flush=True)
while True:
    threading.Thread(target=safely, args=(listener.accept()[0],), daemon=True).start()
