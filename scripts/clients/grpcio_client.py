"""Does with grpcio what docs/protocol.md says a client can do; see `run`.

Takes the addresses of the nodes from CONCLAVE_ENDPOINTS and their process ids from CONCLAVE_PIDS,
both in the order of the nodes, and the generated code from PYTHONPATH.
"""

import json
import os
import queue
import signal
import sys
import threading
import time

import grpc
from conclave.v1 import account_pb2, account_pb2_grpc, chat_pb2, chat_pb2_grpc
from conclave.v1 import live_pb2, live_pb2_grpc

ENDPOINTS = os.environ["CONCLAVE_ENDPOINTS"].split(",")
PIDS = [int(pid) for pid in os.environ["CONCLAVE_PIDS"].split(",")]
PREFIX = "py%d" % (time.time_ns() % 10**9)
# Messages in all, and after how many a node is killed.
MESSAGES, KILL_AFTER = 150, 40
PATIENCE = 60  # seconds
# What a client of gRPC for Go, Java or C++ would have in its service configuration as well.
RETRIES = json.dumps({
    "methodConfig": [{
        "name": [{"service": "conclave.v1.ChatService"}],
        "timeout": "5s",
        "retryPolicy": {
            "maxAttempts": 5,
            "initialBackoff": "0.2s",
            "maxBackoff": "1s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        },
    }]
})


def fail(sentence):
    print(f"error: grpcio: {sentence}", file=sys.stderr)
    sys.exit(1)


def expect(condition, sentence):
    if not condition:
        fail(sentence)


def again(what, call):
    """Repeats a call until it has an answer. Each caller repeats the same request."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            outcome_unknown = (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.DEADLINE_EXCEEDED,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                grpc.StatusCode.UNKNOWN,
            )
            if error.code() not in outcome_unknown or time.monotonic() > until:
                fail(f"{what}: {error.code()} {error.details()}")
            time.sleep(0.2)


def reason(call):
    """The reason of a refusal, which stands in the details of its status."""
    try:
        call()
    except grpc.RpcError as error:
        for name, value in error.trailing_metadata() or ():
            if name == "grpc-status-details-bin":
                return value
        fail(f"a refusal has no details: {error.code()} {error.details()}")
    fail("what should be refused was not")


def channel_of(node):
    return grpc.insecure_channel(ENDPOINTS[node])


def channel_of_all():
    """One channel that goes to another node when the one that it uses dies."""
    return grpc.insecure_channel(
        "ipv4:" + ",".join(ENDPOINTS),
        options=[
            ("grpc.service_config", RETRIES),
            ("grpc.enable_retries", 1),
            # Else the list of addresses is sent as the name of the server, which is none.
            ("grpc.default_authority", "conclave"),
        ],
    )


def wait_until_all_serve():
    for node in range(len(ENDPOINTS)):
        with channel_of(node) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            until = time.monotonic() + PATIENCE
            # One field: the status, of which 1 is SERVING.
            while True:
                try:
                    if check(b"", timeout=2) == b"\x08\x01":
                        break
                except grpc.RpcError:
                    pass
                expect(time.monotonic() < until, f"node {node + 1} does not serve")
                time.sleep(0.2)


class Person:
    def __init__(self, name, channel):
        self.name, self.channel, self.number = f"{PREFIX}-{name}", channel, 0
        accounts = account_pb2_grpc.AccountServiceStub(channel)
        account = account_pb2.CreateAccountRequest(
            name=self.name, password="correct horse", request_id=os.urandom(16)
        )
        made = again("sign-up", lambda: accounts.CreateAccount(account, timeout=5))
        retried = again("sign-up", lambda: accounts.CreateAccount(account, timeout=5))
        expect(made.id == retried.id, "a retried sign-up made another account")
        sessions = account_pb2_grpc.SessionServiceStub(channel)
        login = account_pb2.OpenSessionRequest(
            name=self.name, password="correct horse", request_id=os.urandom(16)
        )
        session = again("log-in", lambda: sessions.OpenSession(login, timeout=5))
        self.metadata = [("authorization", f"Bearer {session.token}")]

    def request(self):
        self.number += 1
        return account_pb2.RequestId(number=self.number, nonce=7)

    def send(self, to, text):
        chat = chat_pb2_grpc.ChatServiceStub(self.channel)
        message = chat_pb2.SendMessageRequest(
            request=self.request(), recipient_name=to, text=text
        )
        send = lambda: chat.SendMessage(message, metadata=self.metadata)  # noqa: E731
        return again("send", send), lambda: again("send again", send)


def page_through(person, peer, count):
    """Reads a conversation in both directions."""
    chat = chat_pb2_grpc.ChatServiceStub(person.channel)
    ask = lambda **how: again(  # noqa: E731
        "page",
        lambda: chat.ListMessages(
            chat_pb2.ListMessagesRequest(peer_name=peer, **how), metadata=person.metadata
        ),
    )
    up, after = [], 0
    while len(up) < count:
        page = ask(after_sequence=after, page_size=50)
        expect(page.page_size == 50 and len(page.messages) <= 50, "a page is too long")
        expect(len(page.messages) > 0, "a page is missing")
        up += [message.text for message in page.messages]
        after = page.next_after_sequence
    page, down = ask(page_size=50), []
    while True:
        down = [message.text for message in page.messages] + down
        if page.previous_before_sequence == 0:
            break
        page = ask(before_sequence=page.previous_before_sequence, page_size=50)
    expect(up == down, "a conversation is not the same in both directions")
    expect(ask(page_size=2**32 - 1).page_size == 1000, "a page does not say that it was cut")
    return up


def stream(person, node, token, got, tokens):
    """Subscribes at a node; gives what comes to `got`, the last token to `tokens`."""
    channel = channel_of(node)
    live = live_pb2_grpc.LiveServiceStub(channel)
    asked = live_pb2.SubscribeRequest(
        resume_token=token, from_beginning=not token, heartbeat_ms=1000
    )
    try:
        for answer in live.Subscribe(asked, metadata=person.metadata):
            for event in answer.events:
                if event.WhichOneof("event") == "message_sent":
                    got.put(event.message_sent.text)
            tokens.append(answer.resume_token)
    except grpc.RpcError:
        pass
    finally:
        channel.close()
        got.put(None)


def main():
    wait_until_all_serve()
    with channel_of_all() as channel:
        alice, bob = Person("alice", channel), Person("bob", channel)
        sessions = account_pb2_grpc.SessionServiceStub(channel)
        wrong = account_pb2.OpenSessionRequest(name=alice.name, password="wrong horse")
        told = reason(lambda: sessions.OpenSession(wrong, timeout=5))
        expect(b"WRONG_CREDENTIALS" in told, "a wrong password has no reason")
        sent = [f"message {number}" for number in range(MESSAGES)]
        done = threading.Event()

        def talk():
            for text in sent:
                first, retry = alice.send(bob.name, text)
                second = retry()
                expect(first.sequence == second.sequence, "a retry was another message")
                time.sleep(0.01)
            done.set()

        talking = threading.Thread(target=talk, daemon=True)
        talking.start()
        got, token, seen, node, killed = queue.Queue(), b"", [], len(ENDPOINTS) - 1, False
        until = time.monotonic() + PATIENCE
        while len(seen) < MESSAGES:
            expect(time.monotonic() < until, f"only {len(seen)} of {MESSAGES} were streamed")
            tokens = []
            streaming = threading.Thread(
                target=stream, args=(bob, node, token, got, tokens), daemon=True
            )
            streaming.start()
            while len(seen) < MESSAGES:
                expect(time.monotonic() < until, f"only {len(seen)} were streamed")
                try:
                    text = got.get(timeout=1)
                except queue.Empty:
                    continue
                if text is None:
                    break
                seen.append(text)
                if len(seen) == KILL_AFTER and not killed:
                    killed = True
                    os.kill(PIDS[node], signal.SIGKILL)
            if len(seen) == MESSAGES:
                break
            # What was told and has no token yet is told again: it goes before the token does.
            streaming.join()
            token = tokens[-1] if tokens else token
            node = (node + 1) % len(ENDPOINTS)
            if node == len(ENDPOINTS) - 1:
                node = 0
        expect(killed, "no node was killed")
        expect(seen == sent, "the stream has a gap or told something twice")
        talking.join(PATIENCE)
        expect(done.is_set(), "not everything was sent")
        expect(page_through(bob, alice.name, MESSAGES) == sent, "pages are not what was sent")
    print(f"grpcio {grpc.__version__}: {MESSAGES} messages streamed over a killed node, each once")


main()
