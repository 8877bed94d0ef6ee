"""Compares a running mesh with what its catalogue entry expects. Each check gives its differences, a line each; none means it holds."""
import collections
import json
import re

import lab

HEADER = ["NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "ECDS", "ISTIOD", "VERSION"]
SYNC = slice(2, 6)  # CDS, LDS, EDS, RDS


def cells(line):
    return re.split(r" {2,}", line.strip())


def proxy_of(pod):
    """The name a catalogue row has for a pod: without what is random in it ("cart-5f7-abcde.shop" is cart.shop)."""
    return re.sub(r"-[a-z0-9]+-[a-z0-9]{5}\.", ".", pod)


def difference(what, wanted, found):
    """Both are multisets (Counter) or sets."""
    wanted, found = collections.Counter(wanted), collections.Counter(found)
    return [f"{what}: lacks {item}" for item in (wanted - found).elements()] + [f"{what}: has {item}" for item in (found - wanted).elements()]


# istioctl ps

def proxy_status(run):
    differences = []
    for cluster, wanted in run.entry.expected["proxy_status"].items():
        done = run.type(cluster, f"{run.istioctl(cluster)} ps", check=False)
        differences += status_differences(run, cluster, wanted, done)
    return differences


def status_differences(run, cluster, wanted, done):
    what = f"ps in {cluster}"
    if wanted.get("error"):
        answer = done.stdout + done.stderr
        return [] if done.returncode and wanted["error"] in answer else [f"{what}: wants error {wanted['error']}, has {answer[:300]!r}"]
    if done.returncode:
        return [f"{what}: {done.stderr.strip()[:300]}"]
    lines = [cells(line) for line in done.stdout.splitlines()]
    if not lines or lines[0] != HEADER:
        return [f"{what}: the header is {lines[:1]}"]
    rows = lines[1:]
    differences = [f"{what}: strange row {row}" for row in rows if len(row) != len(HEADER)]
    if differences:
        return differences
    if [row[0] for row in rows] != sorted(row[0] for row in rows):
        differences.append(f"{what}: rows are not sorted by name")
    differences += difference(what, wanted_rows(run.entry, cluster, wanted), [(proxy_of(row[0]), row[1], *row[SYNC]) for row in rows])
    if len(rows) != wanted["total"]:
        differences.append(f"{what}: {len(rows)} rows, not {wanted['total']}")
    if rows:
        serving = {item["metadata"]["name"] for item in lab.get(wanted["istiod_of"], "pods", "-n", "istio-system", "-l", "app=istiod")["items"]}
        differences += [f"{what}: {row[0]} is served by {row[7]}, no istiod of {wanted['istiod_of']}" for row in rows if row[7] not in serving]
        if len({row[8] for row in rows}) != 1:
            differences.append(f"{what}: several versions {sorted({row[8] for row in rows})}")
    return differences


def wanted_rows(entry, cluster, wanted):
    rows = []
    for row in wanted["rows"]:
        homes = row["from_clusters"]
        for home in homes * (row["count"] // len(homes)):
            sync = list(row.get("sync") or ["SYNCED"] * 4)
            if row["proxy"] == "istio-ingressgateway":
                # The catalogue has the column of its moment: before or after a Gateway with an HTTP server was applied.
                sync[3] = "SYNCED" if entry.ingress_has_routes(home) else "NOT SENT"
            rows.append((f"{row['proxy']}.{row['namespace']}", entry.shown.get(home, home), *sync))
    return rows


# istioctl pc endpoint

def endpoints(run):
    differences = []
    for view in run.entry.expected["endpoints"]:
        cluster = view["viewer"]
        namespace, app, service, port = viewed(run, view)
        name = view["envoy_cluster"] or f"outbound|{port}||{service}"
        differences += held_differences(run, cluster, namespace, lab.pod(cluster, namespace, app), name, service, view)
    return differences


def viewed(run, view):
    """Whose Envoy a view is of, and of which service: (namespace, app, service, port)."""
    if view["envoy_cluster"] is None:  # "any sidecar", "any service": those of the samples.
        return "sample", "sleep", "helloworld.sample.svc.cluster.local", 5000
    proxy, namespace = view["proxy"].rsplit(".", 1)
    return namespace, re.sub(r"-v\d+$", "", proxy), view["service"], int(view["envoy_cluster"].split("|")[1])


def gateway_views(run):
    differences = []
    for view in run.entry.expected.get("gateway_views", []):
        cluster = view["gateway_of"]
        name = view["envoy_cluster"] or "outbound_.5000_._.helloworld.sample.svc.cluster.local"
        service = name.split("_._.")[1]
        app = run.entry.cluster(cluster)["east_west_gateway"].get("service", "istio-eastwestgateway")
        differences += held_differences(run, cluster, "istio-system", lab.pod(cluster, "istio-system", app), name, service, view)
    return differences


def held_differences(run, cluster, namespace, pod, name, service, view):
    """Compares the rows that one Envoy has for one of its clusters with a view, and then the weights."""
    what = f"endpoints of {proxy_of(pod + '.' + namespace)} in {cluster}"
    table = run.type(cluster, f"{run.istioctl(cluster)} pc endpoint -n {namespace} {pod} | grep -F '{name}'", check=False).stdout
    held = [tuple(row) for row in map(cells, table.splitlines()) if row[-1] == name]
    weights = {}
    for want in view["want"]:
        for address in addresses_of(want, service):
            weights[address] = want.get("weight") or 1
    rows = [(address, view.get("status", "HEALTHY"), view.get("outlier_check", "OK"), name) for address in weights]
    differences = difference(what, rows, held)
    return differences or weight_differences(what, cluster, namespace, pod, name, weights)


def addresses_of(want, service):
    """The addresses that one wanted endpoint stands for."""
    if want["kind"] == "pod":
        name, namespace = service.split(".")[:2]
        ready = [address["ip"] for subset in lab.get(want["cluster"], "endpoints", "-n", namespace, name).get("subsets", [])
                 for address in subset.get("addresses", [])]
        port = want["port"] or 5000
        return [f"{ip}:{port}" for ip in ready] or [f"a pod of {service} in {want['cluster']}"]
    if want.get("address"):
        return [want["address"]]
    where = want["address_of"]
    status = lab.get(where["cluster"], "svc", "-n", "istio-system", where["service"])["status"]
    return [f"{ingress['ip']}:{where['port']}" for ingress in status["loadBalancer"].get("ingress", [])]


def weight_differences(what, cluster, namespace, pod, name, wanted):
    document = json.loads(lab.agent_request(cluster, namespace, pod, "clusters?format=json"))
    hosts = next(status.get("host_statuses", []) for status in document["cluster_statuses"] if status["name"] == name)
    held = {}
    for host in hosts:
        address = host["address"]["socket_address"]
        held[f"{address['address']}:{address['port_value']}"] = host.get("weight", 1)
    unit = min(held.values()) / min(wanted.values())
    return [f"{what}: {address} has weight {weight}, not {wanted[address] * unit:g}"
            for address, weight in held.items() if weight != wanted[address] * unit]


# What some seeds show besides

def pods(run):
    """Rows of `kubectl get pods`, random parts left out; a word after the columns says more than the row (see the catalogue)."""
    differences = []
    for want in run.entry.expected.get("pods", []):
        row = want["row"].split(",")[0].split()
        pattern = re.escape(row[0]).replace(re.escape("<suffix>"), r"\S+")
        pattern += "".join(r"\s+" + re.escape(cell) for cell in row[1:])
        selector = f" -l {want['selector']}" if want.get("selector") else ""
        table = run.type(want["cluster"], f"{run.kubectl(want['cluster'])} get po -n {want['namespace']}{selector}")
        if not re.search(f"^{pattern}\\b", table, re.MULTILINE):
            differences.append(f"pods of {want['cluster']}: no row {want['row']!r} in\n{table}")
    return differences


def gateway_service(run):
    differences = []
    for want in run.entry.expected.get("gateway_service", []):
        service = lab.get(want["cluster"], "svc", "-n", "istio-system", want["name"])
        given = [item.get("ip") for item in service["status"].get("loadBalancer", {}).get("ingress", [])]
        wanted = [] if want["external_ip"] in ("<none>", "<pending>") else [want["external_ip"]]
        what = f"service {want['name']} of {want['cluster']}"
        if given != wanted:
            differences.append(f"{what}: addresses {given}, not {wanted}")
        if service["spec"]["type"] != want["type"]:
            differences.append(f"{what}: type {service['spec']['type']}, not {want['type']}")
        if "ports" in want:  # Node ports are the cluster's to choose.
            wanted_ports = {re.sub(r":\d+", "", port) for port in want["ports"].split(",")}
            differences += difference(what, wanted_ports, {f"{port['port']}/{port['protocol']}" for port in service["spec"]["ports"]})
    return differences


def webhook(run):
    want = run.entry.expected.get("webhook")
    if want is None:
        return []
    found = lab.get(want["cluster"], "mutatingwebhookconfiguration", "istio-sidecar-injector")
    service = want["equivalent_client_config"]["service"]
    differences = []
    for one in found["webhooks"]:
        config = one["clientConfig"]
        where = config.get("service", {}).get("path") or config.get("url", "")
        if not config.get("caBundle"):
            differences.append(f"webhook {one['name']}: no caBundle")
        if not where.endswith(service["path"]):
            differences.append(f"webhook {one['name']}: leads to {where!r}, not to {service['path']}")
    return differences


def remote_clusters(run):
    """Every control plane reads its own cluster and those whose secrets lie there."""
    differences = []
    for cluster in run.entry.data["clusters"]:
        if cluster["role"] != "primary":
            continue
        name = cluster["name"]
        wanted = {name} | {secret["for_cluster"] for secret in run.entry.data["remote_secrets"] if secret["applied_to"] == name}
        wanted = {run.entry.registered.get(cluster, cluster) for cluster in wanted}
        lines = run.type(name, f"{run.istioctl(name)} remote-clusters").splitlines()[1:]
        differences += difference(f"remote-clusters of {name}", wanted, [cells(line)[0] for line in lines])
        differences += [f"remote-clusters of {name}: {line}" for line in lines if "synced" not in cells(line)]
    return differences


def restarts(run):
    """Nothing of a mesh ends by itself while it is brought up and used."""
    differences = []
    for cluster in run.entry.clusters:
        for pod in lab.get(cluster, "pods", "-A")["items"]:
            status = pod["status"]
            for container in status.get("containerStatuses", []) + status.get("initContainerStatuses", []):
                if container["restartCount"]:
                    differences.append(f"{cluster}: {container['name']} of {pod['metadata']['name']} was restarted "
                                       f"{container['restartCount']} times: {container.get('lastState')}")
    return differences


CHECKS = {"ps": [proxy_status, remote_clusters], "endpoints": [endpoints], "gateway views": [gateway_views],
          "other": [pods, gateway_service, webhook]}
