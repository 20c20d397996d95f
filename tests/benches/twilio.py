"""What of Twilio a Flex user's read needs: an account that is there, and a token that is good.

    twilio.py PORT
"""

import http.server
import json
import sys


class Twilio(http.server.BaseHTTPRequestHandler):
    def answer(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer({"sid": self.path.split("/")[3].split(".")[0], "status": "active"})

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer({"valid": True, "identity": "ada", "roles": ["agent"], "worker_sid": "WK" + "0" * 32,
                     "expiration": "2099-01-01T00:00:00.000Z"})

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Twilio).serve_forever()
