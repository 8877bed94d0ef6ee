"""Objects and media types that the requests are made of."""

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
MERGE, STRATEGIC, JSONP, APPLY = ("application/merge-patch+json", "application/strategic-merge-patch+json", "application/json-patch+json", "application/apply-patch+yaml")


def container(name="c", **more):
    return dict({"name": name, "image": "registry.example/app:v1"}, **more)


def deployment(name, **spec):
    base = {"selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container()]}}}
    base.update(spec)
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": base}


def named(kind, version, name, **more):
    return dict({"apiVersion": version, "kind": kind, "metadata": {"name": name}}, **more)
