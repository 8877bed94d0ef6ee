"""Steps that only the guides of older releases (seeds s002 to s004) use; see steps.py for how a kind is registered."""
import base64
import json
import pathlib

import yaml

import catalogue
import lab
import steps
from lab import ROOT, isthmus, until
from steps import step

ENVOYDUMMY = ROOT / "samples/envoydummy"

# Sections of s004 that go on from the clusters of the section before.
SECTION_BEFORE = {
    "s004-2c-primaryremote-samenet": "s004-2c-primaryremote-diffnet",
    "s004-2c-multiprimary-samenet": "s004-2c-multiprimary-diffnet",
}


def before(run):
    """Guides of these seeds name files by their place in a release; and some sections begin where another ended.

    True when nothing else is to be prepared.
    """
    for name in ("install", "manifests", "samples", "tools"):
        if not (run.folder / name).exists():
            (run.folder / name).symlink_to(ROOT / name)
    earlier = SECTION_BEFORE.get(run.entry.id)
    if earlier is None:
        return False
    entry, run.entry = run.entry, catalogue.Entry(earlier)
    for item in run.entry.steps:
        if item["do"] == "create_namespace" and item["name"] != "istio-system":
            break  # From here on it is about workloads.
        run.say("section before: " + " ".join(str(value) for value in item.values()))
        steps.take(run, item)
    run.entry = entry
    return True


def copy_into(run, text, name):
    file = run.folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


# Editing a config map, as `kubectl edit` does with an editor that is a program

EDITOR = """#!/usr/bin/env python3
import sys, yaml
path, change = sys.argv[-1], yaml.safe_load(open(sys.argv[1]))
document = yaml.safe_load(open(path))
data = document['data']
networks = yaml.safe_load(data.get('meshNetworks') or '{}') or {}
networks.setdefault('networks', {})
networks['networks'] = networks['networks'] or {}
for name, network in change['networks'].items():
    networks['networks'].setdefault(name, {}).update(network)
data['meshNetworks'] = yaml.safe_dump(networks, sort_keys=False)
yaml.safe_dump(document, open(path, 'w'), sort_keys=False)
"""


def edit_mesh_networks(run, cluster, networks):
    editor = run.folder / "editor"
    editor.write_text(EDITOR)
    editor.chmod(0o755)
    (run.folder / "change.yaml").write_text(yaml.safe_dump(networks))
    run.type(cluster, f'EDITOR="$PWD/editor $PWD/change.yaml" {run.kubectl(cluster)} edit cm istio -n istio-system')


@step("edit_configmap", "s002")
def edit_configmap_s002(run, cluster, item):
    edit_mesh_networks(run, cluster, catalogue.objects()[item["add"]]["meshNetworks"])


@step("edit_configmap", "s003")
def edit_configmap_s003(run, cluster, item):
    network = item["add"].split()[-1]
    gateway = {"address": run.variables["INGRESS_HOST"], "port": int(run.variables["SECURE_INGRESS_PORT"])}
    edit_mesh_networks(run, cluster, {"networks": {network: {"gateways": [gateway]}}})


# s002

@step("install", "s002")
def install_s002(run, cluster, item):
    """The network of cluster2 is the one of its label and of meshNetworks; the guide's file has the other (see seed_notes)."""
    data = run.entry.cluster(cluster)
    data["install"]["istio_operator"]["spec"]["values"]["global"]["network"] = data["network"]
    steps.install(run, cluster, item)


@step("install_east_west_gateway", "s002")
def install_east_west_gateway_s002(run, cluster, item):
    """Gives 15443 the node port that the author's cluster chose, so that the addresses of the guide hold."""
    steps.install_east_west_gateway(run, cluster, item)
    networks = catalogue.objects()["meshNetworks-s002"]["meshNetworks"]["networks"]
    port = networks[run.entry.cluster(cluster)["network"]]["gateways"][0]["port"]
    patch = json.dumps({"spec": {"ports": [{"port": 15443, "nodePort": port}]}})
    run.type(cluster, f"{run.kubectl(cluster)} patch svc istio-eastwestgateway -n istio-system -p '{patch}'")
    shown = run.type(cluster, f"{run.kubectl(cluster)} get svc istio-eastwestgateway -n istio-system")
    assert "<pending>" in shown, shown


@step("read_cluster_ip")
def read_cluster_ip(run, cluster, item):
    address = run.type(cluster, f"{run.kubectl(cluster)} get svc {item['service']} -n istio-system -o jsonpath='{{.spec.clusterIP}}'")
    run.variables[item["into"]] = address.strip()


@step("add_route")
def add_route(run, cluster, item):
    """The range is read as the guide does, out of the API server's command line; the route goes onto every node."""
    primary = run.entry.cluster(cluster)["control_plane"]
    part = "([0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
    services = run.type(primary, f"{run.kubectl(primary)} cluster-info dump | grep -m 1 service-cluster-ip-range | "
                                 f"grep -Eoe '({part}\\.){{3}}{part}/([1-2][0-9]|3[0-2]|[1-9])'").strip()
    for node in lab.get(cluster, "nodes")["items"]:
        line = f"route add -net {services} gw {item['via']}"
        run.log(f"{node['metadata']['name']}$ {line}")
        isthmus("lab", "shell", cluster, "--node", node["metadata"]["name"], "--", "bash", "-ec", line)


@step("deploy")
def deploy(run, cluster, item):
    sample = item["file"].removesuffix(".yaml")
    selector = f" -l {item['selector']}" if item.get("selector") else ""
    verb = "create" if run.entry.seed == "s003" and sample != "sleep" else "apply"
    run.type(cluster, f"{run.kubectl(cluster)} {verb} -f samples/{sample}/{item['file']}{selector} -n sample")


# s003

@step("create_cacerts", "s003")
def create_cacerts_s003(run, cluster, item):
    files = " ".join(f"--from-file={item['from_dir']}/{name}.pem" for name in steps.CERTIFICATES)
    run.type(cluster, f"{run.kubectl(cluster)} create secret generic cacerts -n istio-system {files}")


@step("install", "s003")
def install_s003(run, cluster, item):
    how = run.entry.cluster(cluster)["install"]
    line = how["command"]
    if "set" in how:
        run.variables["CLUSTER_NAME"] = cluster_name(run, cluster)
        line = line.replace("--set …", " ".join(f"--set {key}={value}" for key, value in how["set"].items()))
    run.type(cluster, "echo y | " + line)


def cluster_name(run, cluster):
    return run.type(cluster, f"{run.kubectl(cluster)} config view --minify=true -o jsonpath='{{.clusters[].name}}'").strip()


@step("wait_pods")
def wait_pods(run, cluster, item):
    selector = f" -l '{item['selector']}'" if item.get("selector") else ""

    def ready():
        table = run.type(cluster, f"{run.kubectl(cluster)} get pods -n {item['namespace']}{selector} --no-headers")
        rows = [line.split() for line in table.splitlines()]
        return rows and all(row[2] == "Running" and len(set(row[1].split("/"))) == 1 for row in rows)
    until(ready, 60, f"pods of {item['namespace']}{selector} ready")


@step("read_ingress")
def read_ingress(run, cluster, item):
    """As the project's task on ingress says, with the context of the cluster as the current one."""
    context = cluster.upper()
    out = run.type(cluster, f"""
        export ORIGINAL_CONTEXT=$(kubectl config current-context || true)
        kubectl config use-context "$CTX_{context}" > /dev/null
        kubectl -n istio-system get service istio-ingressgateway -o jsonpath='{{.status.loadBalancer.ingress[0].ip}}'; echo
        kubectl -n istio-system get service istio-ingressgateway -o jsonpath='{{.spec.ports[?(@.name=="https")].port}}'; echo
        [ -z "$ORIGINAL_CONTEXT" ] || kubectl config use-context $ORIGINAL_CONTEXT > /dev/null""")
    run.variables["INGRESS_HOST"], run.variables["SECURE_INGRESS_PORT"] = out.split()


@step("read_load_balancer_ip")
def read_load_balancer_ip(run, cluster, item):
    address = run.type(cluster, f"{run.kubectl(cluster)} get svc --selector={item['selector']} -n istio-system "
                                "-o jsonpath='{.items[0].status.loadBalancer.ingress[0].ip}'")
    run.variables[item["into"]] = address.strip()


@step("write_kubeconfig")
def write_kubeconfig(run, cluster, item):
    kubectl, account = run.kubectl(cluster), item["service_account"]
    run.type(cluster, f"""
        CLUSTER_NAME=$({kubectl} config view --minify=true -o jsonpath='{{.clusters[].name}}')
        SERVER=$({kubectl} config view --minify=true -o jsonpath='{{.clusters[].cluster.server}}')
        SECRET_NAME=$({kubectl} get sa {account} -n istio-system -o jsonpath='{{.secrets[].name}}')
        CA_DATA=$({kubectl} get secret ${{SECRET_NAME}} -n istio-system -o jsonpath="{{.data['ca\\.crt']}}")
        TOKEN=$({kubectl} get secret ${{SECRET_NAME}} -n istio-system -o jsonpath="{{.data['token']}}" | base64 --decode)
        cat <<EOF > {item['file']}
apiVersion: v1
kind: Config
clusters:
  - cluster:
      certificate-authority-data: ${{CA_DATA}}
      server: ${{SERVER}}
    name: ${{CLUSTER_NAME}}
contexts:
  - context:
      cluster: ${{CLUSTER_NAME}}
      user: ${{CLUSTER_NAME}}
    name: ${{CLUSTER_NAME}}
current-context: ${{CLUSTER_NAME}}
users:
  - name: ${{CLUSTER_NAME}}
    user:
      token: ${{TOKEN}}
EOF""")


@step("create_secret")
def create_secret(run, cluster, item):
    run.type(cluster, f"{run.kubectl(cluster)} create secret generic {item['name']} --from-file {item['from_file']} -n {item['namespace']}")


@step("label_secret")
def label_secret(run, cluster, item):
    run.type(cluster, f"{run.kubectl(cluster)} label secret {item['name']} {item['label']} -n istio-system")


# s004

@step("make_certificates")
def make_certificates(run, cluster, item):
    if not (run.folder / "certs").exists():
        steps.make_certificates(run, run.entry.clusters)


@step("create_cacerts", "s004")
def create_cacerts_s004(run, cluster, item):
    """In the section where the namespace was deleted, the step that makes it again is only implied."""
    kubectl = run.kubectl(cluster)
    run.type(cluster, f"{kubectl} get namespace istio-system || {kubectl} create namespace istio-system")
    steps.put_cacerts(run, cluster, item["from_dir"])


@step("annotate_namespace")
def annotate_namespace(run, cluster, item):
    run.type(cluster, f"{run.kubectl(cluster)} annotate namespace {item['name']} {item['annotation']}")


@step("install_east_west_gateway", "s004")
def install_east_west_gateway_s004(run, cluster, item):
    if "manifest generate" not in item.get("by", ""):
        return steps.install_east_west_gateway(run, cluster, item)
    context = f'"${{CTX_{cluster.upper()}}}"'
    run.type(cluster, f"samples/multicluster/gen-eastwest-gateway.sh --mesh {item['mesh']} --cluster {context} --network {item['network']} "
                      "> eastwest-gateway-1.yaml")
    run.type(cluster, "istioctl manifest generate -f eastwest-gateway-1.yaml --set values.global.istioNamespace=istio-system | "
                      f"kubectl apply --context={context} -f -")


@step("create_remote_secret", "s004")
def create_remote_secret_s004(run, cluster, item):
    if "webhook" in run.entry.expected and run.entry.expected["webhook"]["cluster"] == cluster:
        assert not any(bundles(cluster)), "the webhooks have a caBundle before the remote secret"
    flags = next(secret.get("flags", "") for secret in run.entry.data["remote_secrets"] if secret["for_cluster"] == cluster)
    run.type(cluster, f"{run.istioctl(cluster)} x create-remote-secret --name={item['name']} {flags} | "
                      f"{run.kubectl(item['piped_into'])} apply -f -")


def bundles(cluster):
    found = lab.get(cluster, "mutatingwebhookconfiguration", "istio-sidecar-injector")
    return [webhook["clientConfig"].get("caBundle", "") for webhook in found["webhooks"]]


@step("show_mutating_webhook")
def show_mutating_webhook(run, cluster, item):
    until(lambda: all(bundles(cluster)), 30, "caBundle in every webhook")
    text = run.type(cluster, f"{run.kubectl(cluster)} get mutatingwebhookconfiguration/{item['name']} -o json")
    bundle = json.loads(text)["webhooks"][0]["clientConfig"]["caBundle"]
    assert base64.b64decode(bundle).strip().endswith(b"-----END CERTIFICATE-----"), bundle


@step("apply_crds")
def apply_crds(run, cluster, item):
    run.type(cluster, f"{run.kubectl(cluster)} apply -f {item['file']}")


@step("create_configmap")
def create_configmap(run, cluster, item):
    name = pathlib.PurePath(item["from_file"]).name
    number = name.removesuffix(".yaml")[-1]
    sample = yaml.safe_load((ENVOYDUMMY / f"config-{number}.yaml").read_text())
    copy_into(run, sample["data"][name], item["from_file"])
    run.type(cluster, f"{run.kubectl(cluster)} create configmap {item['name']} --from-file={item['from_file']} -n chapter08")


def put_envoydummy(run, file):
    """The book's file by its name, with our manifest of the same number."""
    name = pathlib.PurePath(file).name
    copy_into(run, (ENVOYDUMMY / f"envoydummy-{name[1]}.yaml").read_text(), f"Chapter08/{name}")
    return f"Chapter08/{name}"


@step("deploy", "s004")
def deploy_s004(run, cluster, item):
    run.type(cluster, f'{run.kubectl(cluster)} create -f "{put_envoydummy(run, item["file"])}" --namespace=chapter08')


@step("apply_config", "s004")
def apply_config_s004(run, cluster, item):
    """Also where the catalogue has the object: an istiod reads configuration only from the cluster it runs in."""
    copy_into(run, (ENVOYDUMMY / "gateway.yaml").read_text(), item["file"])
    others = [other["name"] for other in run.entry.data["clusters"] if any(one["object"] == item["object"] for one in other["config"])]
    for name in dict.fromkeys([cluster, *others]):
        run.type(name, f"{run.kubectl(name)} apply -f \"{item['file']}\" -n {item['namespace']}")


@step("open_firewall")
def open_firewall(run, cluster, item):
    if cluster == run.entry.clusters[0]:
        run.log(isthmus("lab", "open", *run.entry.clusters))


@step("uninstall_purge")
def uninstall_purge(run, cluster, item):
    out = run.type(cluster, f"echo y | {run.istioctl(cluster)} uninstall --purge")
    assert "All Istio resources will be pruned from the cluster" in out and "Uninstall complete" in out, out
    kinds = "deploy,svc,cm,sa,role,rolebinding,hpa,pdb,clusterrole,clusterrolebinding,mutatingwebhookconfiguration,validatingwebhookconfiguration,crd"
    left = run.type(cluster, f"{run.kubectl(cluster)} get {kinds} -A -o name | grep -i istio || true").split()
    # What the user made stays: the account of the remote secret that another cluster reads with, and what is not of the installation.
    assert not left, f"uninstall --purge left {left}"
