"""A mail server on this machine (aiosmtpd): STARTTLS and a password are wanted; each message becomes a line of JSON."""

import json
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, SMTP


class Handler:
    async def handle_DATA(self, server, session, envelope):
        told = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "content": envelope.content.decode(),
            "tls": session.ssl is not None,
            "login": session.auth_data.login.decode(),
        }
        print(json.dumps(told), flush=True)
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    known = (data.login, data.password) == (b"dewdrop", sys.argv[4].encode())
    if not known:
        # As rude as a server can be.
        return AuthResult(success=False, handled=False, message="535 no, not " + data.password.decode())
    return AuthResult(success=True, auth_data=data)


class Server(Controller):
    def factory(self):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        return SMTP(
            self.handler, tls_context=context, require_starttls=True, auth_required=True, authenticator=authenticate
        )


server = Server(Handler(), hostname="127.0.0.1", port=int(sys.argv[1]))
server.start()
print("ready", flush=True)
sys.stdin.read()
server.stop()
