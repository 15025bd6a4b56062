"""Keepalives of leases that come from many clients at once share entries of the log,
and no lease and no client suffers from it."""
import http.client
import signal
import socket
import struct
import threading
import time

import pytest

from cluster import HOST, Stopwatch, wait_for


class Client:
    """A lease, and a connection that stays open."""

    def __init__(self, node, ttl="60s"):
        self.node, self.ttl = node, ttl
        self.link = http.client.HTTPConnection(HOST, node.http_port, timeout=30)
        response = self.ask("POST", f"/lease?ttl={ttl}")
        assert response.status == 201
        self.lease = response.headers["Location"].rpartition("/")[2]

    def ask(self, method, path):
        self.link.request(method, path)
        response = self.link.getresponse()
        response.read()
        return response

    def send(self, lease=None):
        self.link.request("PUT", f"/lease/{lease or self.lease}")

    def answer(self):
        response = self.link.getresponse()
        response.read()
        return response

    def renew(self):
        self.send()
        return self.answer()


def applied(node):
    return node.status()["applied"]


def log_grows(node, do):
    """What do() returns, and the entries that were added meanwhile. One a second is a
    stamp, since something is to end."""
    before, began = applied(node), time.monotonic()
    result = do()
    return result, applied(node) - before - (time.monotonic() - began) - 1


def close(clients):
    for client in clients:
        client.link.close()


@pytest.mark.parametrize("where", ["the leader", "another node"])
def test_keepalives_of_many_clients_share_entries(cluster, where):
    cluster.start(3)
    leader = cluster.wait_leader()
    node = leader if where == "the leader" else cluster.others(leader)[0]
    clients = [Client(node) for _ in range(120)]
    for client in clients:
        assert client.renew().status == 204
    time.sleep(3)

    def renew_all():
        for i, client in enumerate(clients):
            client.send()
            time.sleep(0.01)
        return [client.answer() for client in clients]

    answers, entries = log_grows(node, renew_all)
    assert all(answer.status == 204 for answer in answers)
    assert all(answer.headers["Craftd-Ttl"] == "60000" for answer in answers)
    assert entries < 30
    # As many as if each had an entry of its own: they end a minute from now.
    leases = node.request("GET", "/lease?limit=1000").json()["leases"]
    assert len(leases) == 120 and min(lease["left"] for lease in leases) > 50
    close(clients)


def test_what_comes_at_once_shares_an_entry(three):
    """Also on new connections, which are not kept waiting: what arrives while a
    keepalive is on its way to the log goes with the next one."""
    node = three[0]
    clients = [Client(node) for _ in range(100)]

    def renew_all():
        for client in clients:
            client.send()
        return [client.answer().status for client in clients]

    statuses, entries = log_grows(node, renew_all)
    assert statuses == [204] * 100
    assert entries < 70
    close(clients)


def test_a_client_with_many_leases_is_not_kept_waiting(cluster):
    """It renews them one after the other, over one connection or over many, beside
    others that can wait."""
    node = cluster.start(1)[0]
    patient = [Client(node) for _ in range(40)]
    busy = Client(node)
    leases = [Client(node) for _ in range(100)]
    stop = threading.Event()

    def renew_slowly():
        while not stop.is_set():
            for client in patient:
                assert client.renew().status == 204
                stop.wait(0.05)

    others = threading.Thread(target=renew_slowly)
    others.start()
    try:
        time.sleep(2.5)
        busy.renew()
        time.sleep(2.5)
        stopwatch = Stopwatch(node)
        for client in leases:
            busy.send(client.lease)
            assert busy.answer().status == 204
        assert stopwatch.seconds() < 4
        stopwatch = Stopwatch(node)
        for client in leases:
            assert node.request("PUT", f"/lease/{client.lease}").status == 204
        assert stopwatch.seconds() < 4
    finally:
        stop.set()
        others.join()
    close(patient + leases + [busy])


def test_a_lease_that_is_about_to_end_is_not_kept_waiting(cluster):
    node = cluster.start(1)[0]
    other, seldom = Client(node), Client(node)
    other.renew()
    seldom.renew()

    def survives():
        """With little time left, right after another was renewed."""
        time.sleep(3.3)
        short = Client(node, "1s")
        time.sleep(0.85)
        assert other.renew().status == 204
        seldom.send(short.lease)
        short.link.close()
        return seldom.answer().status == 204

    assert any(survives() for _ in range(6))
    close([other, seldom])


def test_each_client_gets_the_answer_for_its_lease(cluster):
    """Some leases are gone, and some clients leave while the entry is on its way."""
    cluster.start(3)
    leader = cluster.wait_leader()
    clients = [Client(leader, f"{100 + i}s") for i in range(30)]
    for client in clients[::3]:
        assert leader.request("DELETE", f"/lease/{client.lease}").status == 200

    def answers(leave):
        """Of those that stay, while the followers are paused for a moment."""
        for node in cluster.others(leader):
            node.send(signal.SIGSTOP)
        try:
            for client in clients:
                client.send()
            time.sleep(0.5)
            for client in leave:  # With a reset, which the node notices at once.
                client.link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                            struct.pack("ii", 1, 0))
                client.link.close()
            time.sleep(0.1)
        finally:
            for node in cluster.others(leader):
                node.send(signal.SIGCONT)
        return [client.answer() for client in clients if client not in leave]

    expected = [(404, None) if i % 3 == 0 else (204, str((100 + i) * 1000))
                for i in range(30) if i % 3 != 2]

    def are_right():
        """Unless the leader gave up meanwhile: then all of them fail."""
        got = [(answer.status, answer.headers["Craftd-Ttl"])
               for answer in answers(clients[2::3])]
        if got == expected:
            return True
        assert {status for status, _ in got} & {503, 504}, got
        return False

    assert any(are_right() for _ in range(5))
    # A connection goes on as it was.
    assert clients[1].ask("GET", "/livez").status == 200
    assert clients[1].renew().status == 204
    close(clients)


def test_keepalives_wait_for_a_leader_each_as_long_as_it_may(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    node = cluster.others(leader)[0]
    clients = [Client(node) for _ in range(20)]
    for client in clients:
        client.renew()
    time.sleep(3)
    leader.kill()
    for client in clients:
        client.send()
    statuses = [client.answer().status for client in clients]
    assert set(statuses) <= {204, 503, 504}
    new = cluster.wait_leader(20)
    wait_for(lambda: {client.renew().status for client in clients} == {204}, 20,
             "renewals go on")
    assert new.metric("craftd_leases") == 20
    close(clients)


def test_a_node_that_stops_answers_those_that_wait(cluster):
    node = cluster.start(1)[0]
    clients = [Client(node) for _ in range(20)]
    for client in clients:
        client.renew()
    time.sleep(3)
    for client in clients:
        client.send()
    time.sleep(0.02)
    node.terminate()
    for client in clients:
        assert client.answer().status in (204, 503)
    node.wait_exit(20)
    close(clients)
