"""Runs in a pod: the keys of an issuer of tokens at /keys, a service that is asked about requests at every other path, and two services
over TCP that tell their port."""
import http.server
import os
import socketserver
import threading


class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        keys = self.path == "/keys"
        body = os.environ["KEYS"].encode() if keys else b""
        self.send_response(200 if keys or self.headers.get("x-pass") == "yes" else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Tcp(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(99)
        self.request.sendall(b"%d" % self.server.server_address[1])


for server in (http.server.ThreadingHTTPServer(("", 8000), Web), socketserver.ThreadingTCPServer(("", 9000), Tcp)):
    threading.Thread(target=server.serve_forever).start()
socketserver.ThreadingTCPServer(("", 9001), Tcp).serve_forever()
