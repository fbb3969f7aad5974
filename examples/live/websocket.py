"""A WebSocket client of a few lines (RFC 6455), for Python's standard library alone."""
import base64
import hashlib
import os
import socket
import ssl
import struct
import threading
import urllib.parse

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class WebSocket:
    """`url`: ws://HOST:PORT/PATH or wss://. Raises ConnectionError when refused and when the other side goes."""

    def __init__(self, url: str, token: str = "", timeout: float | None = 60):
        parts = urllib.parse.urlsplit(url)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        self.socket = socket.create_connection((parts.hostname, port), timeout=timeout)
        if parts.scheme == "wss":
            self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname=parts.hostname)
        key = base64.b64encode(os.urandom(16)).decode()
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [f"GET {target} HTTP/1.1", f"Host: {parts.hostname}:{port}", "Upgrade: websocket",
                 "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.file = self.socket.makefile("rb")
        self.sending = threading.Lock()
        status = self.file.readline().decode(errors="replace").strip()
        headers = {}
        while (line := self.file.readline().strip()):
            name, _, value = line.decode(errors="replace").partition(":")
            headers[name.lower()] = value.strip()
        if " 101 " not in f"{status} ":
            body = self.file.read(int(headers.get("content-length", 0))).decode(errors="replace")
            raise ConnectionError(f"{status}: {body}")
        accept = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        if headers.get("sec-websocket-accept") != base64.b64encode(accept).decode():
            raise ConnectionError("the server does not speak WebSocket")

    def send(self, data: str | bytes):
        self._send(TEXT if isinstance(data, str) else BINARY, data.encode() if isinstance(data, str) else data)

    def receive(self) -> str | bytes:
        """The next message; text as str."""
        message, kind = b"", None
        while True:
            first, second = self._read(2)
            size = second & 0x7F
            if size == 126:
                size, = struct.unpack(">H", self._read(2))
            elif size == 127:
                size, = struct.unpack(">Q", self._read(8))
            payload = self._read(size)
            code = first & 0xF
            if code == PING:
                self._send(PONG, payload)
            elif code == CLOSE:
                self._send(CLOSE, payload)
                raise ConnectionError("the server closed the connection")
            elif code != PONG:
                kind = code or kind
                message += payload
                if first & 0x80:
                    return message.decode() if kind == TEXT else message

    def close(self):
        try:
            self._send(CLOSE, struct.pack(">H", 1000))
        except OSError:
            pass
        self.socket.close()

    def _read(self, size: int) -> bytes:
        data = self.file.read(size)
        if len(data) < size:
            raise ConnectionError("the connection ended")
        return data

    def _send(self, code: int, payload: bytes):
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else \
            b"\xfe" + struct.pack(">H", size) if size < 1 << 16 else b"\xff" + struct.pack(">Q", size)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        with self.sending:  # threads may send, one may receive
            self.socket.sendall(bytes([0x80 | code]) + length + mask + masked)
