"""Redis servers arranged as one: alone, under Sentinel, as a Cluster."""

import contextlib
import ssl
import urllib.parse

import certificates
import resp
# Whoever imports this module has those of the node as well.
from node import Missing, Node, PATIENCE, Place, Unhealthy, end_with_parent, loopback, require, until

MASTER = "mymaster"
USER = "baton"
SLOTS = 16384
# Replicas that Sentinel or the Cluster may promote. Those beyond are never promoted.
ELECTABLE = 2


class Topology:
    """What the three arrangements share. `replicas`: how many must have a write before it counts."""

    scheme = ""

    def __init__(self, folder, replicas, password=None, places=loopback):
        require("redis-server", "redis-server")
        self.folder, self.password, self.places = folder, password, places
        self.followers = replicas
        self.replicas = min(replicas, ELECTABLE)
        self.nodes = []
        self.tls = None

    def node(self, name, port, settings):
        place = self.places(name, port)
        own = [f"bind {place.host}", "protected-mode no", f"port {place.port}", *settings]
        node = Node(name, self.folder, place, own, self.password, self.tls)
        node.company = self.nodes
        self.nodes.append(node)
        return node

    def data_settings(self):
        settings = ["appendonly yes", 'save ""', "repl-diskless-sync-delay 0", "repl-ping-replica-period 1",
                    "repl-backlog-size 64mb"]
        if self.password:
            settings += [f'requirepass "{self.password}"', f'masterauth "{self.password}"',
                         f"user {USER} on >{self.password} ~* &* +@all"]
        return settings

    def server(self, name, settings=()):
        return self.node(name, 6379, [*self.data_settings(), *settings])

    @property
    def url(self):
        user = f"{USER}:{urllib.parse.quote(self.password, safe='')}@" if self.password else ""
        return f"{self.scheme}://{user}{self.address()}"

    def stop(self):
        for node in self.nodes:
            node.kill()


class Standalone(Topology):
    """One server; with replicas, one that nothing would fail over."""

    scheme = "redis"

    def __init__(self, folder, replicas=0, password=None, places=loopback, tls=False):
        super().__init__(folder, replicas, password, places)
        settings = []
        self.authority = None
        if tls:
            settings = self._tls_settings()
        self.primary = self.server("primary", settings)
        if tls:
            self._speak_tls_only()
        self.slaves = [self.server(f"replica{n + 1}", [f"replicaof {self.primary.place.host} {self.primary.place.port}"])
                       for n in range(replicas)]

    def start(self):
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.await_answer()
        until("replicas attached", lambda: self.primary.confirms(self.followers))
        return self

    def address(self):
        return f"localhost:{self.primary.place.port}" if self.authority else str(self.primary.place)

    def _tls_settings(self):
        if self.followers:
            raise Unhealthy("TLS is for one server without replicas")
        self.scheme = "rediss"
        self.authority, certificate, key = certificates.make(self.folder)
        self.tls = ssl.create_default_context(cafile=self.authority)
        return [f"tls-cert-file {certificate}", f"tls-key-file {key}", f"tls-ca-cert-file {self.authority}",
                "tls-auth-clients no"]

    def _speak_tls_only(self):
        with open(self.primary.file, "a") as out:
            # localhost may be either.
            out.write(f"bind 127.0.0.1 -::1\nport 0\ntls-port {self.primary.place.port}\n")


class Sentinel(Topology):
    """One primary, its replicas, three Sentinels. Beyond the second, replicas cannot be promoted."""

    scheme = "redis+sentinel"

    def __init__(self, folder, replicas=2, password=None, places=loopback, down_after=1000):
        super().__init__(folder, replicas, password, places)
        first = self.server("primary")
        self.data = [first]
        for n in range(replicas):
            settings = [f"replicaof {first.place.host} {first.place.port}"]
            settings += ["replica-priority 0"] if n >= ELECTABLE else []
            self.data.append(self.server(f"replica{n + 1}", settings))
        self.sentinels = [self._sentinel(n + 1, first, down_after) for n in range(3)]

    def _sentinel(self, n, first, down_after):
        settings = [
            f"sentinel monitor {MASTER} {first.place.host} {first.place.port} 2",
            f"sentinel down-after-milliseconds {MASTER} {down_after}",
            f"sentinel failover-timeout {MASTER} 3000",
            f"sentinel parallel-syncs {MASTER} 3",
        ]
        if self.password:
            # The Sentinels ask for no password, and take the user's.
            settings += [f"sentinel auth-pass {MASTER} {self.password}", "user default on nopass ~* &* +@all",
                         f"user {USER} on >{self.password} ~* &* +@all"]
        node = self.node(f"sentinel{n}", 26379, settings)
        node.password = None
        return node

    def start(self):
        for node in self.data:
            node.start()
        for node in self.data:
            node.await_answer()
        until("replicas attached", lambda: self.data[0].confirms(self.followers))
        # Only now: Sentinel asks a primary for its replicas when it starts, and then every ten seconds.
        for node in self.sentinels:
            node.start()
        for node in self.sentinels:
            node.await_answer()
            # They find each other by what they publish, by default every two seconds.
            with contextlib.suppress(resp.ReplyError):
                node.call("SENTINEL", "DEBUG", "publish-period", "200")
        for node in self.sentinels:
            until(f"{node} knows the others", lambda node=node: self.agrees(node))
        for node in self.sentinels:
            with contextlib.suppress(resp.ReplyError):
                node.call("SENTINEL", "DEBUG", "publish-period", "2000")
        until("replicas confirm", lambda: self.data[0].confirms(self.followers))
        return self

    def agrees(self, node, primary=None):
        """Whether this Sentinel sees everything up: the primary (one in particular, or any), replicas, Sentinels."""
        words = node.call("SENTINEL", "MASTER", MASTER)
        seen = dict(zip(words[::2], words[1::2]))
        if primary is not None and f"{seen['ip']}:{seen['port']}" != str(primary.place):
            return False
        replicas = [dict(zip(r[::2], r[1::2])) for r in node.call("SENTINEL", "REPLICAS", MASTER)]
        return (seen["flags"] == "master" and int(seen["num-other-sentinels"]) == len(self.sentinels) - 1
                and len(replicas) == self.followers
                and all(r["flags"] == "slave" and r["master-link-status"] == "ok" for r in replicas)
                and node.call("SENTINEL", "CKQUORUM", MASTER).startswith("OK"))

    def primary(self, asked=None):
        """The node that the Sentinel asked (by default the first that answers) names."""
        for sentinel in [asked] if asked else self.sentinels:
            with contextlib.suppress(OSError, resp.ReplyError):
                named = ":".join(sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER, timeout=0.5))
                return next(node for node in self.data if str(node.place) == named)
        raise Unhealthy("no Sentinel answers")

    def address(self):
        return ",".join(str(node.place) for node in self.sentinels) + f"/{MASTER}"


class Cluster(Topology):
    """Three primaries, each with its replicas; each primary holds a third of the slots."""

    scheme = "redis-cluster"

    def __init__(self, folder, replicas=1, password=None, places=loopback, node_timeout=2000):
        super().__init__(folder, replicas, password, places)
        self.node_timeout = node_timeout
        self.shards = []
        for n in range(3):
            names = [f"primary{n + 1}"] + [f"replica{n + 1}{'abcdefgh'[i]}" for i in range(replicas)]
            self.shards.append([self._member(name, i > ELECTABLE) for i, name in enumerate(names)])

    def _member(self, name, never_promoted):
        bus = self.places(name, 16379)
        settings = ["cluster-enabled yes", "cluster-config-file nodes.conf", f"cluster-port {bus.port}",
                    f"cluster-node-timeout {self.node_timeout}", "cluster-allow-replica-migration no"]
        settings += ["cluster-replica-no-failover yes"] if never_promoted else []
        node = self.server(name, settings)
        node.bus = bus.port
        return node

    def start(self):
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.await_answer()
        bounds = [n * SLOTS // 3 for n in range(4)]
        for n, shard in enumerate(self.shards):
            shard[0].call("CLUSTER", "ADDSLOTSRANGE", bounds[n], bounds[n + 1] - 1)
        first = self.nodes[0]
        for n, node in enumerate(self.nodes):
            node.call("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
            if node is not first:
                node.call("CLUSTER", "MEET", first.place.host, first.place.port, first.bus)
        for node in self.nodes:
            until(f"{node} knows all nodes", lambda node=node: self._knows_all(node))
        for shard in self.shards:
            primary = shard[0].call("CLUSTER", "MYID")
            for replica in shard[1:]:
                replica.call("CLUSTER", "REPLICATE", primary)
        self.await_health()
        return self

    def await_health(self, patience=PATIENCE):
        for node in self.nodes:
            until(f"{node} is in step", lambda node=node: self.healthy(node), patience)

    def _knows_all(self, node):
        lines = node.call("CLUSTER", "NODES").splitlines()
        return len(lines) == len(self.nodes) and not any("handshake" in line for line in lines)

    def healthy(self, node):
        """Whether the state is ok, every slot has a primary and all replicas, and this node is in step."""
        lines = node.call("CLUSTER", "INFO").splitlines()
        if "cluster_state:ok" not in lines or "cluster_slots_ok:16384" not in lines:
            return False
        known = [line.split() for line in node.call("CLUSTER", "NODES").splitlines()]
        if any("fail" in flags for _, _, flags, *_ in known) or len(known) != len(self.nodes):
            return False
        for name in (row[0] for row in known if "master" in row[2]):
            if sum(row[3] == name for row in known) != self.followers:
                return False
        info = node.info("replication")
        if info["role"] == "master":
            return node.confirms(self.followers)
        return info["master_link_status"] == "up"

    def primaries(self):
        """The nodes that hold slots now, as they themselves see it."""
        return [node for node in self.nodes if node.alive and node.info("replication")["role"] == "master"]

    def holder(self, asked, slot):
        """The node that holds a slot, as the node asked sees it."""
        for first, last, named, *_ in asked.call("CLUSTER", "SLOTS", timeout=0.5):
            if first <= slot <= last:
                return next(node for node in self.nodes if str(node.place) == f"{named[0]}:{named[1]}")
        raise Unhealthy(f"nobody holds slot {slot}")

    def address(self):
        return ",".join(str(shard[0].place) for shard in self.shards)
