"""What entries of the catalogue expect in words of an old release, said in those of today. Each change has its reason in the entry's seed_notes."""
import copy
import re

# Release 1.4 ran these as programs of their own; all of them are istiod now, or gone with Mixer.
PARTS_OF_ISTIOD = re.compile(r"^(istio-(citadel|galley|pilot|policy|sidecar-injector|telemetry)|prometheus)-")


def corrected(name, expected, clusters):
    if not name.startswith("s003-"):
        return expected
    expected = copy.deepcopy(expected)
    # The logs show 15443, which nothing in the document listens on; by its configuration the gateways are reached at 443.
    for view in expected["endpoints"]:
        for want in view["want"]:
            if want["kind"] == "gateway":
                want["address"] = want["address"].replace(":15443", ":443")
    rows = []
    for row in expected["pods"]:
        text = "istiod-<suffix> 1/1 Running" if PARTS_OF_ISTIOD.match(row["row"]) else row["row"]
        for cluster in clusters if row["cluster"] == "both" else [row["cluster"]]:
            rows.append({**row, "cluster": cluster, "row": text})
    expected["pods"] = rows
    return expected


def names(name, mode):
    """What clusters are called there, by their names in the catalogue: (in the column CLUSTER of ps, in remote-clusters).

    The values file of 1.4 gives the primary no name, and a remote secret written by hand names its cluster by its key.
    """
    if name.startswith("s003-") and mode == "steps":
        return {"cluster1": "Kubernetes"}, {"cluster1": "Kubernetes", "cluster2": "n2-k8s-config"}
    return {}, {}
