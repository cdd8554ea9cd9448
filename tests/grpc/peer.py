"""gRPC of Python for the stories: endpoints that say who they are, and a client that calls all the time. One command a
line on standard input, one line of JSON back. It must decide nothing that a story is about.

    serve ADDRESS NAME       an endpoint on this address; {"port": N}
    stop ADDRESS             it ends: calls that it has go on to their end, nothing new is taken
    ads ADDRESS FOLDER       an xDS server that answers each first request for a type with FOLDER/<its last word>; {"port": N}
    call TARGET [xds]        calls TARGET from now on, one call after the other; with `xds`, with the credentials that xDS names
    report                   what came back since the last report: {"answers": {WHO: N}, "failures": {WHY: N}}
"""

import concurrent.futures
import json
import pathlib
import re
import sys
import threading

import grpc
import grpc.experimental

METHOD = "/causeway.Tests/Who"
# Long enough for a slow machine; what it is a limit of is answered in milliseconds.
PATIENCE = 20
# Between two calls, so that they leave the machine to others.
PACE = 0.002

servers = {}
lock = threading.Lock()
answers = {}
failures = {}


class Everything(grpc.GenericRpcHandler):
    """One handler whatever the method."""

    def __init__(self, handler):
        self.handler = handler

    def service(self, _details):
        return self.handler


def listen(address, handler):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[Everything(handler)])
    port = server.add_insecure_port(address)
    server.start()
    servers[f"{address.rsplit(':', 1)[0]}:{port}"] = server
    return {"port": port}


def serve(address, name):
    return listen(address, grpc.unary_unary_rpc_method_handler(lambda _request, _context: name.encode()))


def stop(address):
    servers.pop(address).stop(PATIENCE).wait()
    return {}


def ads(address, folder):
    """The bytes are whole responses, made by whoever made the folder; a request that answers one gets nothing."""
    responses = {file.name: file.read_bytes() for file in pathlib.Path(folder).iterdir()}

    def stream(requests, _context):
        told = set()
        for request in requests:
            asked = {name.decode() for name in re.findall(rb"\.v3\.(\w+)", request)}
            for name in (asked & responses.keys()) - told:
                told.add(name)
                yield responses[name]

    return listen(address, grpc.stream_stream_rpc_method_handler(stream))


def call(target, credentials=None):
    if credentials == "xds":
        plain = grpc.experimental.insecure_channel_credentials()
        channel = grpc.secure_channel(target, grpc.xds_channel_credentials(plain))
    else:
        channel = grpc.insecure_channel(target)
    who = channel.unary_unary(METHOD)

    def run():
        pause = threading.Event()
        while not pause.wait(PACE):
            try:
                into, key = answers, who(b"", timeout=PATIENCE).decode()
            except grpc.RpcError as fault:
                into, key = failures, f"{fault.code().name}: {fault.details()}"
            with lock:
                into[key] = into.get(key, 0) + 1

    threading.Thread(target=run, daemon=True).start()
    return {}


def report():
    with lock:
        said = {"answers": dict(answers), "failures": dict(failures)}
        answers.clear()
        failures.clear()
    return said


COMMANDS = {"serve": serve, "stop": stop, "ads": ads, "call": call, "report": report}

for line in sys.stdin:
    name, *arguments = line.split()
    print(json.dumps(COMMANDS[name](*arguments)), flush=True)
