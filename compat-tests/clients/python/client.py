"""A stock python-socketio client that a test drives: one JSON text per line, commands on stdin, what happens on stdout.

client.py URL TRANSPORT sync|asyncio
"""
import asyncio
import base64
import json
import sys
import threading

import socketio

url, transport, style = sys.argv[1:4]
options = {"reconnection_delay": 0.1, "reconnection_delay_max": 0.2, "randomization_factor": 0, "ssl_verify": False}
auth = {"token": "a secret", "nothing": None}


def plain(value):
    """Bytes as what JSON can show."""
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value


def binary(value):
    """The reverse of plain."""
    if isinstance(value, list):
        return [binary(v) for v in value]
    if isinstance(value, dict):
        return base64.b64decode(value["base64"]) if set(value) == {"base64"} else {k: binary(v) for k, v in value.items()}
    return value


def say(event, *args):
    sys.stdout.write(json.dumps([event, *plain(args)]) + "\n")  # one write: several threads say something
    sys.stdout.flush()


def lines():
    for line in sys.stdin:
        yield json.loads(line)


def listen(sio):
    sio.on("connect", lambda: say("connect"))
    sio.on("disconnect", lambda reason: say("disconnect", reason))
    for name in ("auth", "message-back"):
        sio.on(name, lambda *args, name=name: say(name, *args))


def run():
    sio = socketio.Client(**options)
    listen(sio)
    sio.connect(url, transports=[transport], auth=auth)
    for kind, *args in lines():
        if kind == "emit":
            sio.emit(args[0], tuple(binary(args[1:])))
        elif kind == "call":
            say("answer", sio.call(args[0], tuple(binary(args[1:])), timeout=10))
    sio.disconnect()


async def run_asyncio():
    sio = socketio.AsyncClient(**options)
    listen(sio)
    await sio.connect(url, transports=[transport], auth=auth)
    queue, loop = asyncio.Queue(), asyncio.get_running_loop()

    def read():
        for line in lines():
            loop.call_soon_threadsafe(queue.put_nowait, line)
        loop.call_soon_threadsafe(queue.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await queue.get()) is not None:
        kind, *args = line
        if kind == "emit":
            await sio.emit(args[0], tuple(binary(args[1:])))
        elif kind == "call":
            say("answer", await sio.call(args[0], tuple(binary(args[1:])), timeout=10))
    await sio.disconnect()


if style == "sync":
    run()
else:
    asyncio.run(run_asyncio())
