# Sends what it is told, one JSON object per line, through pip's socket.io-emitter, and says when Redis has it.
import json
import sys

from socket_io_emitter.emitter import Emitter

host, port, key, namespace = sys.argv[1:]
emitter = Emitter({"host": host, "port": int(port), "key": key})
for line in sys.stdin:
    order = json.loads(line)
    emitter.Of(namespace)
    if order.get("rooms"):
        emitter.In(*order["rooms"])
    emitter.Emit(*order["args"])
    print(json.dumps("sent"), flush=True)
