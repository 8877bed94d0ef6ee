"""The catalogue of topologies (tests/catalogue/topologies.yaml): its entries and what is looked up in them."""
import yaml

from corrections import corrected
from lab import ROOT

# The C loader where there is one: the file has 330 KB.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_document = None


def document():
    global _document
    if _document is None:
        _document = yaml.load((ROOT / "tests/catalogue/topologies.yaml").read_text(), _LOADER)
    return _document


def ids():
    return [entry["id"] for entry in document()["topologies"]]


def objects():
    """Configuration objects by the names that entries use for them."""
    return document()["objects"]


class Entry:
    """One topology of the catalogue. A value; nothing here knows how it is brought up."""

    def __init__(self, name):
        found = [entry for entry in document()["topologies"] if entry["id"] == name]
        if not found:
            raise SystemExit(f"the catalogue has no entry {name}; it has: {', '.join(ids())}")
        self.data = found[0]
        self.id = name
        self.seed = name.split("-")[0]
        self.clusters = [cluster["name"] for cluster in self.data["clusters"]]
        self.steps = self.data["steps"]
        self.shown, self.registered = {}, {}  # Other names of clusters, by theirs; set by the run (corrections.names).
        self.expected = corrected(name, self.data["expected"], self.clusters)

    def cluster(self, name):
        return next(cluster for cluster in self.data["clusters"] if cluster["name"] == name)

    def uses_contexts(self):
        """True when one machine drives all clusters with --context; else each command is typed on a machine of its cluster."""
        return any(cluster["context"] for cluster in self.data["clusters"])

    def clusters_of(self, step):
        return self.clusters if step.get("at") == "both" else [step["at"]]

    def has_step(self, kind, cluster=None):
        return any(step["do"] == kind and (cluster is None or cluster in self.clusters_of(step)) for step in self.steps)

    def ingress_has_routes(self, cluster):
        """True when the ingress gateway of `cluster` is given HTTP routes; its istiod reads them in the cluster it runs in."""
        serving = self.cluster(cluster)["control_plane"]
        for item in self.cluster(serving)["config"]:
            if item["object"] == "mockshop":  # Told in words there.
                return True
            documents = objects().get(item["object"], {})
            for one in documents if isinstance(documents, list) else [documents]:
                spec = one.get("spec") or {}
                if one.get("kind") == "Gateway" and spec["selector"].get("istio") == "ingressgateway":
                    if any(server["port"]["protocol"] == "HTTP" for server in spec["servers"]):
                        return True
        return False
