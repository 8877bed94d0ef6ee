"""Requests about what an API server does with every kind: errors, definitions, discovery, lists, subresources, field owners, access."""
import time
import urllib.parse

from objects import APPLY, MERGE, PARTIAL, STRATEGIC, TABLE, container, deployment, named


def errors(c, ns, apps):
    c.same("GET", "/apis/none.example/v1/things")
    c.same("GET", "/api/v1/nothing")
    c.same("POST", "/api/v1/namespaces/absent/configmaps", named("ConfigMap", "v1", "x"))
    c.same("POST", ns + "/configmaps", named("Secret", "v1", "x"))
    c.same("POST", ns + "/configmaps", {"apiVersion": "v1", "kind": "ConfigMap"})
    c.same("POST", ns + "/configmaps", dict(named("ConfigMap", "v1", "x"), metadata={"name": "x", "namespace": "other"}))
    c.same("POST", ns + "/configmaps", dict(named("ConfigMap", "v1", "x"), metadata={"name": "x", "labels": {"a b": "c"}}))
    c.same("POST", ns + "/configmaps", dict(named("ConfigMap", "v1", "x"), metadata={"name": "x", "resourceVersion": "5"}))
    c.same("POST", ns + "/configmaps", named("ConfigMap", "v1", "x", data={"a/b": "c"}))
    c.same("PUT", ns + "/configmaps/one", dict(named("ConfigMap", "v1", "one"), metadata={"name": "one", "resourceVersion": "1"}))
    c.same("PUT", ns + "/configmaps/one", dict(named("ConfigMap", "v1", "one"), metadata={"name": "one", "uid": "wrong"}))
    c.same("DELETE", "/api/v1/namespaces/default")
    c.same("DELETE", ns + "/configmaps/one?propagationPolicy=Sideways")
    c.same("POST", ns + "/configmaps/one", {})
    c.same("GET", ns + "/configmaps?continue=nonsense")
    c.same("GET", ns + "/configmaps", accept="application/xml")
    c.same("POST", ns + "/serviceaccounts/default/token", {"spec": {"expirationSeconds": 10}})
    c.same("POST", ns + "/serviceaccounts/nobody/token", {"spec": {}})


def definitions(c):
    schema = {"type": "object", "properties": {"spec": {"type": "object", "required": ["color"], "properties": {
        "color": {"type": "string", "enum": ["red", "blue"]}, "size": {"type": "integer", "minimum": 1, "default": 3},
        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}, "tags": {"type": "array", "items": {"type": "string"}}}},
        "status": {"type": "object", "properties": {"done": {"type": "boolean"}}}}}
    version = lambda name, storage: {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
                                     "additionalPrinterColumns": [{"name": "Color", "type": "string", "jsonPath": ".spec.color"}, {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                                                                  {"name": "Done", "type": "boolean", "jsonPath": ".status.done"}, {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]}
    crd = named("CustomResourceDefinition", "apiextensions.k8s.io/v1", "paints.test.example", spec={
        "group": "test.example", "scope": "Namespaced", "names": {"plural": "paints", "kind": "Paint", "shortNames": ["pt"]}, "versions": [version("v1", True), version("v1beta1", False)]})
    c.same("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All", dict(crd, metadata={"name": "wrong.test.example"}))
    for server in (c.ours, c.real):
        server.send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    for _ in range(100):
        if c.real.send("GET", "/apis/test.example/v1/paints")[0] == 200:
            break
        time.sleep(0.1)
    time.sleep(1)
    paints = "/apis/test.example/v1/namespaces/diff/paints"
    paint = lambda name, **spec: named("Paint", "test.example/v1", name, spec=spec)
    c.same("POST", paints, paint("a", color="red", unknown=1, any={"x": 1}))
    c.same("POST", paints + "?fieldValidation=Strict", paint("s", color="red", unknown=1))
    c.same("POST", paints, paint("b", color="green"))
    c.same("POST", paints, paint("b", color="red", size=0))
    c.same("POST", paints, paint("b", size="x"))
    c.same("POST", paints, paint("b"))
    c.same("POST", paints, {"metadata": {"name": "b"}})
    c.same("GET", paints + "/a", accept=TABLE)
    c.same("GET", "/apis/test.example/v1beta1/namespaces/diff/paints/a")
    c.same("PATCH", paints + "/a", {"spec": {"size": 5}}, MERGE)
    c.same("PATCH", paints + "/a", {"spec": {"size": 5}}, STRATEGIC)
    c.same("PATCH", paints + "/a/status", {"status": {"done": True}, "spec": {"size": 9}}, MERGE)
    c.same("PUT", paints + "/a", paint("a", color="blue"))
    c.same("PATCH", paints + "/a?fieldManager=m", paint("a", color="blue"), APPLY)
    c.watch(paints + "?resourceVersion=0")
    c.same("GET", "/apis/test.example")
    c.same("DELETE", paints + "/a")


def discovery(c):
    for path in ("/api/v1", "/apis/apps/v1", "/apis/batch/v1", "/apis/rbac.authorization.k8s.io/v1", "/apis/apiextensions.k8s.io/v1", "/apis/autoscaling/v2",
                 "/apis/admissionregistration.k8s.io/v1", "/apis/certificates.k8s.io/v1", "/apis/policy/v1", "/apis/networking.k8s.io/v1", "/apis/discovery.k8s.io/v1",
                 "/apis/coordination.k8s.io/v1", "/apis/authentication.k8s.io/v1", "/apis/authorization.k8s.io/v1", "/apis/test.example/v1", "/apis/events.k8s.io/v1"):
        c.resources(path)
    for path in ("/apis/apps", "/apis/batch", "/apis/rbac.authorization.k8s.io", "/apis/nothing.example", "/apis/apps/v9"):
        c.same("GET", path)
    c.discovered("/api")
    c.discovered("/apis")


def lists(c, ns):
    for i in range(7):
        name = "page-%d" % i
        c.same("POST", ns + "/configmaps", dict(named("ConfigMap", "v1", name), metadata={"name": name, "labels": {"set": "a" if i % 2 else "b", "n": str(i)}}))
    for size in (1, 3, 7):
        c.pages(ns + "/configmaps?labelSelector=set", size)
    c.pages("/apis/rbac.authorization.k8s.io/v1/namespaces/diff/roles", 1)
    for selector in ("set=a", "set!=a", "set in (a,b)", "set notin (a)", "!set", "set,n=3", "set==a,n notin (1,3)", "n>2", "set in (", "a b", "=x"):
        c.same("GET", ns + "/configmaps?labelSelector=" + urllib.parse.quote(selector))
    for selector in ("metadata.name=page-1", "metadata.name!=page-1,metadata.namespace=diff", "spec.nonsense=1", "metadata.name"):
        c.same("GET", ns + "/configmaps?fieldSelector=" + urllib.parse.quote(selector))
    c.same("GET", ns + "/configmaps?limit=x")
    c.same("GET", "/api/v1/configmaps?fieldSelector=metadata.namespace%3Ddiff&labelSelector=n%3D1")
    c.same("GET", ns + "/configmaps?resourceVersion=0&resourceVersionMatch=Exact")
    c.same("GET", ns + "/configmaps?resourceVersion=zero")
    labelled = lambda **labels: dict(named("ConfigMap", "v1", "moves"), metadata={"name": "moves", "labels": labels})
    one = ns + "/configmaps/moves"
    c.story(ns + "/configmaps?labelSelector=w%3D1", [("POST", ns + "/configmaps", labelled(w="1")), ("PATCH", one, {"data": {"k": "v"}}, MERGE),
            ("PATCH", one, {"metadata": {"labels": {"w": "2"}}}, MERGE), ("PATCH", one, {"metadata": {"labels": {"w": "1"}}}, MERGE), ("DELETE", one)])
    c.watch(ns + "/configmaps?resourceVersion=0&labelSelector=n%3D3", PARTIAL)
    c.watch(ns + "/configmaps?fieldSelector=metadata.name%3Dpage-2")
    c.same("GET", ns + "/configmaps?watch=1&resourceVersion=nonsense&timeoutSeconds=1")
    c.same("DELETE", ns + "/configmaps?labelSelector=set%3Da")
    c.same("GET", ns + "/configmaps?labelSelector=set")


def subresources(c, ns, apps):
    c.same("POST", apps + "/deployments", deployment("sub"))
    path = apps + "/deployments/sub"
    c.same("GET", path + "/scale")
    c.same("PATCH", path + "/scale", {"spec": {"replicas": 4}}, MERGE)
    c.same("PUT", path + "/scale", {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "sub", "namespace": "diff"}, "spec": {"replicas": 2}})
    c.same("PATCH", path + "/scale", {"spec": {"replicas": -1}}, MERGE)
    c.same("GET", path + "/status")
    c.same("PATCH", path + "/status", {"status": {"replicas": 2, "readyReplicas": 1}, "spec": {"replicas": 9}}, MERGE)
    c.same("GET", path)
    c.same("GET", path + "/nothing")
    c.same("POST", path + "/status", {})
    c.same("GET", apps + "/deployments/none/scale")
    c.same("POST", ns + "/pods", named("Pod", "v1", "evict", spec={"containers": [container()]}))
    c.same("POST", ns + "/pods/evict/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "evict"}})
    c.same("GET", ns + "/pods/evict")
    c.same("POST", ns + "/pods", dict(named("Pod", "v1", "", spec={"containers": [container()]}), metadata={"generateName": "made-", "labels": {"bad label": "x"}}))
    c.same("POST", ns + "/serviceaccounts/default/token", {"spec": {"audiences": ["a"], "expirationSeconds": 5}})
    c.same("GET", ns + "/pods/none/log")
    csr = named("CertificateSigningRequest", "certificates.k8s.io/v1", "csr", spec={"request": "bm90IG9uZQ==", "signerName": "example.com/x", "usages": ["client auth"]})
    c.same("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests", csr)
    c.same("PUT", "/api/v1/namespaces/diff/finalize", named("Namespace", "v1", "other"))


def ownership(c, ns, apps):
    one = named("ConfigMap", "v1", "owned", data={"a": "1", "b": "2"})
    path = ns + "/configmaps/owned"
    c.same("PATCH", path + "?fieldManager=m1", one, APPLY)
    c.owners(path)
    c.same("PATCH", path + "?fieldManager=editor", {"data": {"b": "3", "c": "4"}}, MERGE)
    c.owners(path)
    c.same("PATCH", path + "?fieldManager=m1", one, APPLY)
    c.same("PATCH", path + "?fieldManager=m1&force=true", one, APPLY)
    c.owners(path)
    c.same("PATCH", path + "?fieldManager=m1", named("ConfigMap", "v1", "owned", data={"a": "1"}), APPLY)
    c.owners(path)
    path = apps + "/deployments/owned"
    c.same("PATCH", path + "?fieldManager=m1", deployment("owned", replicas=2), APPLY)
    c.owners(path)
    c.same("PATCH", path + "?fieldManager=m2", deployment("owned", template={"metadata": {"labels": {"app": "owned"}}, "spec": {"containers": [container("side")]}}), APPLY)
    c.owners(path)
    c.same("PATCH", path + "/scale?fieldManager=scaler", {"spec": {"replicas": 5}}, MERGE)
    c.owners(path)
    c.same("PATCH", path + "?fieldManager=m1", deployment("owned", replicas=2), APPLY)
    c.same("PUT", path, {"apiVersion": "apps/v1"})


def access(c, ns):
    for server in (c.ours, c.real):
        server.send("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", named("ClusterRole", "rbac.authorization.k8s.io/v1", "looking",
                    rules=[{"apiGroups": ["", "apps"], "resources": ["pods", "configmaps", "deployments"], "verbs": ["get", "list", "watch"]}]))
        server.send("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", named("ClusterRoleBinding", "rbac.authorization.k8s.io/v1", "viewers",
                    subjects=[{"kind": "Group", "name": "lookers", "apiGroup": "rbac.authorization.k8s.io"}],
                    roleRef={"kind": "ClusterRole", "name": "looking", "apiGroup": "rbac.authorization.k8s.io"}))
    time.sleep(0.5)
    as_user = lambda user, *groups: [("Impersonate-User", user)] + [("Impersonate-Group", group) for group in groups]
    c.same("GET", ns + "/pods", headers=as_user("someone"))
    c.same("GET", ns + "/secrets/s", headers=as_user("someone", "lookers"))
    c.same("GET", ns + "/configmaps/one", headers=as_user("someone", "lookers"))
    c.same("DELETE", "/api/v1/nodes/n1", headers=as_user("someone", "lookers"))
    c.same("GET", "/metrics", headers=as_user("someone"))
    c.same("GET", ns + "/pods", headers=[("Impersonate-Group", "alone")])
    for attributes in ({"verb": "get", "resource": "pods"}, {"verb": "delete", "resource": "pods"}, {"verb": "list", "resource": "deployments", "group": "apps"}):
        c.same("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": "someone", "groups": ["lookers"], "resourceAttributes": dict(attributes, namespace="diff")}})
    c.same("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "nonsense"}})
    c.same("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, headers=as_user("someone", "lookers"))


def deletions(c, ns):
    c.same("POST", ns + "/configmaps", dict(named("ConfigMap", "v1", "held"), metadata={"name": "held", "finalizers": ["example.com/x"]}))
    c.same("DELETE", ns + "/configmaps/held")
    c.same("DELETE", ns + "/configmaps/held")
    c.same("PATCH", ns + "/configmaps/held", {"metadata": {"finalizers": None}}, MERGE)
    c.same("GET", ns + "/configmaps/held")
    c.same("DELETE", ns + "/configmaps/one", {"preconditions": {"uid": "wrong"}})
    c.same("DELETE", ns + "/configmaps/one")
    c.same("DELETE", ns + "/services/plain")
    c.same("DELETE", "/apis/apps/v1/namespaces/diff/deployments/web", {"propagationPolicy": "Foreground"})
    c.same("DELETE", ns + "/secrets?labelSelector=none%3Dsuch")
    c.same("DELETE", "/api/v1/namespaces/diff")
    c.same("POST", ns + "/configmaps", named("ConfigMap", "v1", "late"))
