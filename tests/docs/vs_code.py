"""What VS Code does when a program is debugged: it talks to debugpy in the Debug Adapter Protocol.

https://microsoft.github.io/debug-adapter-protocol/specification
"""
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import minires

PATIENCE = 300  # seconds


class VSCode:
    """`with VSCode(["train.py"], folder, just_my_code=False) as editor:` a program that runs under the debugger."""

    def __init__(self, program, folder, just_my_code):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings = {**os.environ, "PYTHONPATH": str(Path(minires.__file__).parents[1]), "PYTHONIOENCODING": "utf-8",
                    "PYDEVD_DISABLE_FILE_VALIDATION": "1", "PYTHONBREAKPOINT": ""}
        self._screen = Path(folder) / "screen.txt"  # not a pipe: debugpy's own process would keep it open
        with open(self._screen, "wb") as screen:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "debugpy", "--listen", f"127.0.0.1:{port}", "--wait-for-client", *program],
                cwd=folder, env=settings, stdin=subprocess.DEVNULL, stdout=screen, stderr=subprocess.STDOUT)
        self._socket = _connect(port)
        self._stream = self._socket.makefile("rwb")
        self._number = 0
        self.ask("initialize", adapterID="minires", linesStartAt1=True)
        self._send("attach", justMyCode=just_my_code)
        self._wait_for("initialized")
        self._send("configurationDone")

    def stopped(self):
        """Wait for the next stop: (the names of the frames, the innermost first; its file; its line; its variables)."""
        self._thread = self._wait_for("stopped")["threadId"]
        frames = self.ask("stackTrace", threadId=self._thread)["stackFrames"]
        self._frame = frames[0]["id"]
        scope = self.ask("scopes", frameId=self._frame)["scopes"][0]
        variables = self.ask("variables", variablesReference=scope["variablesReference"])["variables"]
        return ([frame["name"] for frame in frames], Path(frames[0]["source"]["path"]).name, frames[0]["line"],
                [variable["name"] for variable in variables])

    def evaluate(self, expression):
        """What the Debug Console answers."""
        return self.ask("evaluate", expression=expression, frameId=self._frame)["result"]

    def go_on(self, command):
        """Press a key: "next" (F10), "stepIn" (F11) or "continue" (F5)."""
        self._send(command, threadId=self._thread)

    def output(self):
        """What the program printed until its end."""
        self.process.wait(timeout=PATIENCE)
        return self._screen.read_text(encoding="utf-8")

    def ask(self, command, **arguments):
        number = self._send(command, **arguments)
        while True:
            message = self._read()
            if message["type"] == "response" and message["request_seq"] == number:
                return message.get("body")

    def _send(self, command, **arguments):
        self._number += 1
        body = json.dumps({"seq": self._number, "type": "request", "command": command, "arguments": arguments}).encode()
        self._stream.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._stream.flush()
        return self._number

    def _read(self):
        length = 0
        while line := self._stream.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        message = json.loads(self._stream.read(length))
        assert message.get("event") != "terminated", "the program ended without a stop"
        return message

    def _wait_for(self, event):
        while True:
            message = self._read()
            if message["type"] == "event" and message["event"] == event:
                return message.get("body", {})

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._stream.close()
        self._socket.close()
        self.process.kill()
        self.process.wait()


def _connect(port):
    for _ in range(10 * PATIENCE):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise TimeoutError("debugpy does not listen")
