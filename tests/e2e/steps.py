"""The steps of catalogue entries, each typed by the command of its guide; kinds that only old guides use are in steps_old_forms.py.

A kind of step is a function step_function(run, cluster, step): it types on `cluster` (called once for each cluster of an
`at: both`). It is registered by the kind's name, or for the entries of one seed only, which then goes before the general one.
"""
import pathlib

import catalogue
from lab import ROOT, until
from mesh_run import as_yaml

MULTICLUSTER = ROOT / "samples/multicluster"
BOOKINFO = ROOT / "samples/bookinfo/platform/kube/bookinfo.yaml"
CERTIFICATES = ("ca-cert", "ca-key", "root-cert", "cert-chain")

_functions = {}


def step(kind, seed=None):
    """Registers a function for a kind of step, for all seeds or only for one ("s003")."""
    def register(function):
        assert (kind, seed) not in _functions, f"step {kind} is registered twice"
        _functions[kind, seed] = function
        return function
    return register


def take(run, item):
    """Takes one step of the run's entry."""
    function = _functions.get((item["do"], run.entry.seed)) or _functions.get((item["do"], None))
    if function is None:
        raise NotImplementedError(f"no function for step {item['do']} of {run.entry.id}")
    for cluster in run.entry.clusters_of(item):
        function(run, cluster, item)


# What the catalogue takes for granted before the first step: certificates of one root, namespaces, workloads.

def before(run):
    make_certificates(run, run.entry.clusters)
    for cluster in run.entry.clusters:
        if not run.entry.has_step("create_cacerts", cluster):
            run.type(cluster, f"{run.kubectl(cluster)} create namespace istio-system")
            put_cacerts(run, cluster, cluster)
        if not run.entry.has_step("deploy", cluster):
            deploy_workloads(run, cluster)


def make_certificates(run, names):
    """Made once and kept between runs: make finds them there, and keys of 4096 bits take their time."""
    folder = pathlib.Path(ROOT / "build/topologies/certs")
    folder.mkdir(parents=True, exist_ok=True)
    makefile = ROOT / "tools/certs/Makefile.selfsigned.mk"
    targets = " ".join(f"{name}-cacerts" for name in names if not (folder / name / "cert-chain.pem").exists())
    if targets or not (folder / "root-cert.pem").exists():
        run.type(run.entry.clusters[0], f"cd {folder} && make -f {makefile} root-ca {targets}")
    (run.folder / "certs").symlink_to(folder)


def put_cacerts(run, cluster, folder):
    files = " ".join(f"--from-file=certs/{folder}/{name}.pem" for name in CERTIFICATES)
    run.type(cluster, f"{run.kubectl(cluster)} create secret generic cacerts -n istio-system {files}")


def deploy_workloads(run, cluster):
    """The workloads that the catalogue lists for a cluster, in namespaces that are labelled for injection."""
    kubectl = run.kubectl(cluster)
    workloads = run.entry.cluster(cluster)["workloads"]
    for namespace in dict.fromkeys(item["namespace"] for item in workloads):
        run.type(cluster, f"{kubectl} create ns {namespace} && {kubectl} label ns {namespace} istio-injection=enabled")
    for item in workloads:
        files = [BOOKINFO] if item.get("app") == "bookinfo" else [ROOT / f"topologies/extra/{name}.yaml" for name in item["deployments"]]
        run.type(cluster, f"{kubectl} apply -n {item['namespace']} " + " ".join(f"-f {file}" for file in files))


# Steps

@step("label_network")
def label_network(run, cluster, item):
    kubectl = run.kubectl(cluster)
    label = f"topology.istio.io/network={item['network']}"
    # kubectl 1.20 calls it an error that the namespace has the label already.
    line = f"{{ {kubectl} label namespace istio-system {label} || {kubectl} get namespace -l {label} | grep istio-system; }}"
    run.type(cluster, f"{kubectl} get namespace istio-system && {line}" if item.get("only_if") else line)


@step("remove_network_label")
def remove_network_label(run, cluster, item):
    run.type(cluster, f"{run.kubectl(cluster)} label namespace istio-system topology.istio.io/network-")


@step("install")
def install(run, cluster, item):
    """The entry's own command line, on the install file as a here-document, so that shell variables in it are filled in."""
    how = run.entry.cluster(cluster)["install"]
    run.type(cluster, f"mkdir -p $(dirname {item['file']}); cat > {item['file']} <<EOF\n{as_yaml(how['istio_operator'])}EOF")
    run.type(cluster, "echo y | " + how["command"].replace("<kubeconfig>", '"$KUBECONFIG"'))


@step("install_east_west_gateway")
def install_east_west_gateway(run, cluster, item):
    run.type(cluster, f"{MULTICLUSTER}/gen-eastwest-gateway.sh --mesh {item['mesh']} --cluster {item['cluster']} "
                      f"--network {item['network']} | {run.istioctl(cluster)} install -y -f -")


@step("patch_external_ip")
def patch_external_ip(run, cluster, item):
    run.type(cluster, f"{run.kubectl(cluster)} patch svc -n istio-system istio-eastwestgateway "
                      "-p '{\"spec\":{\"externalIPs\":[\"" + item["ip"] + "\"]}}'")


@step("wait_external_ip")
def wait_external_ip(run, cluster, item):
    address = "-o jsonpath='{.status.loadBalancer.ingress[0].ip}'"
    until(lambda: run.type(cluster, f"{run.kubectl(cluster)} get svc {item['service']} -n istio-system {address}").strip(), 60,
          f"an address of {item['service']}")


@step("expose_services")
def expose_services(run, cluster, item):
    run.type(cluster, f"{run.kubectl(cluster)} apply -n {item['namespace']} -f {MULTICLUSTER}/expose-services.yaml")


@step("expose_istiod")
def expose_istiod(run, cluster, item):
    run.type(cluster, f"{run.kubectl(cluster)} apply -n {item['namespace']} -f {MULTICLUSTER}/expose-istiod.yaml")


@step("create_remote_secret")
def create_remote_secret(run, cluster, item):
    server = f" --server={item['server']}" if item.get("server") else ""
    line = f"{run.istioctl(cluster)} x create-remote-secret --name={item['name']}{server}"
    reader = item.get("piped_into")
    run.type(cluster, f"{line} | {run.kubectl(reader)} apply -f -" if reader else f"{line} > remote-secret-{item['name']}.yaml")


@step("apply_remote_secret")
def apply_remote_secret(run, cluster, item):
    run.type(cluster, f"{run.kubectl(cluster)} apply -f remote-secret-{item['of']}.yaml")


@step("restart_deployments")
def restart_deployments(run, cluster, item):
    run.type(cluster, " && ".join(f"{run.kubectl(cluster)} rollout restart deploy -n {namespace}" for namespace in item["namespaces"]))


@step("exec_check")
def exec_check(run, cluster, item):
    """Typed when the restarts are through, as a person does who looks at the pods first."""
    run.wait_for_rollouts()
    pod = f"$({run.kubectl(cluster)} get pod -n istio -l app=ratings -o jsonpath='{{.items[0].metadata.name}}')"
    page = run.type(cluster, f'{run.kubectl(cluster)} exec -n istio "{pod}" -- curl -sS productpage.istio:9080/productpage')
    assert "Simple Bookstore App" in page, page


@step("apply_config")
def apply_config(run, cluster, item):
    name = item.get("file") or f"{item['object']}.yaml"
    run.type(cluster, f"mkdir -p $(dirname {name}); cat > {name} <<'EOF'\n{as_yaml(catalogue.objects()[item['object']])}EOF")
    run.type(cluster, f"{run.kubectl(cluster)} apply -n {item['namespace']} -f {name}")


@step("create_namespace")
def create_namespace(run, cluster, item):
    run.type(cluster, f"{run.kubectl(cluster)} create namespace {item['name']}")


@step("label_injection")
def label_injection(run, cluster, item):
    run.type(cluster, f"{run.kubectl(cluster)} label namespace {item['namespace']} istio-injection=enabled")


@step("create_cacerts")
def create_cacerts(run, cluster, item):
    put_cacerts(run, cluster, item["from_dir"])


@step("delete")
def delete(run, cluster, item):
    namespace = f" -n {item['namespace']}" if item.get("namespace") else ""
    run.type(cluster, f"{run.kubectl(cluster)} delete {item['kind'].lower()} {item['name']}{namespace}")
