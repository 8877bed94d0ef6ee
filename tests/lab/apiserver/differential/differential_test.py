#!/usr/bin/env python3
"""Sends the same requests to the lab's API server and to a real kube-apiserver, and compares what they answer.

Needs KUBEBUILDER_ASSETS (a folder with kube-apiserver and etcd) and ISTHMUS_BIN (a folder with isthmus-lab); without the
first it is skipped (exit code 77). What differs by nature (uids, times, versions, random names, addresses) is evened out; what
a newer real server adds is listed in comparison.NEWER.

    differential_test.py [--real URL TOKEN]    --real uses a server that runs already
"""
import os
import sys

import kinds
import protocol
from admission import Hook, admission
from comparison import Comparison
from objects import TABLE, named
from servers import Processes, Server, start_ours, start_real


def run(c):
    ns = "/api/v1/namespaces/diff"
    apps, batch, net = ("/apis/%s/v1/namespaces/diff" % g for g in ("apps", "batch", "networking.k8s.io"))
    c.same("POST", "/api/v1/namespaces", named("Namespace", "v1", "diff"))
    c.same("GET", "/api/v1/namespaces/diff", accept=TABLE)
    c.same("POST", ns + "/serviceaccounts", named("ServiceAccount", "v1", "default"))
    kinds.basics(c, ns)
    kinds.pods(c, ns)
    kinds.workloads(c, ns, apps, batch)
    kinds.services(c, ns)
    kinds.others(c, ns, net)
    kinds.patches(c, ns, apps)
    protocol.errors(c, ns, apps)
    protocol.definitions(c)
    protocol.discovery(c)
    protocol.lists(c, ns)
    protocol.subresources(c, ns, apps)
    protocol.ownership(c, ns, apps)
    protocol.access(c, ns)
    with Hook(c.folder) as hook:
        admission(c, ns, hook)
    protocol.deletions(c, ns)


def main():
    assets = os.environ.get("KUBEBUILDER_ASSETS", "")
    given = sys.argv[2:4] if sys.argv[1:2] == ["--real"] else None
    if not given and not os.path.exists(os.path.join(assets, "kube-apiserver")):
        print("skipped: KUBEBUILDER_ASSETS names no folder with kube-apiserver")
        return 77
    processes = Processes()
    try:
        real = Server(*given) if given else start_real(processes, assets)
        ours = start_ours(processes, os.environ.get("ISTHMUS_BIN", "build/dev/bin"))
        ours.wait()
        real.wait()
        comparison = Comparison(ours, real)
        run(comparison)
    finally:
        processes.stop()
    print("%d requests, %d differences" % (comparison.count, len(comparison.differences)))
    return 1 if comparison.differences else 0


sys.exit(main())
