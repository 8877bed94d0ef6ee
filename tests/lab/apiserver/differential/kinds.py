"""Requests about each kind of object: made, read, listed as tables, patched, refused."""
from objects import APPLY, JSONP, MERGE, PARTIAL, PARTIAL_LIST, STRATEGIC, TABLE, container, deployment, named


def basics(c, ns):
    c.same("POST", ns + "/configmaps", named("ConfigMap", "v1", "one", data={"a": "1"}))
    c.same("POST", ns + "/configmaps", named("ConfigMap", "v1", "one"))
    c.same("GET", ns + "/configmaps/one")
    c.same("GET", ns + "/configmaps/one", accept=TABLE)
    c.same("GET", ns + "/configmaps/one", accept=PARTIAL)
    c.same("GET", ns + "/configmaps", accept=PARTIAL_LIST)
    c.same("GET", ns + "/configmaps/none")
    c.same("GET", ns + "/configmaps?labelSelector=a%3Db")
    c.same("GET", ns + "/configmaps?fieldSelector=metadata.name%3Done")
    c.same("PUT", ns + "/configmaps/one", named("ConfigMap", "v1", "one", data={"a": "2"}))
    c.same("PUT", ns + "/configmaps/other", named("ConfigMap", "v1", "one", data={"a": "2"}))
    c.same("PUT", ns + "/configmaps/absent", named("ConfigMap", "v1", "absent"))
    c.same("POST", ns + "/secrets", named("Secret", "v1", "s", stringData={"k": "v"}))
    c.same("POST", ns + "/secrets", named("Secret", "v1", "tls", type="kubernetes.io/tls"))
    c.same("POST", ns + "/configmaps?dryRun=All", named("ConfigMap", "v1", "dry"))
    c.same("GET", ns + "/configmaps/dry")
    c.same("POST", ns + "/configmaps?fieldValidation=Strict", named("ConfigMap", "v1", "strict", dta={}))
    c.same("POST", ns + "/configmaps", named("ConfigMap", "v1", "loose", dta={}))
    c.watch(ns + "/configmaps?resourceVersion=0")
    c.watch(ns + "/configmaps?resourceVersion=0", TABLE)


def pods(c, ns):
    plain = named("Pod", "v1", "plain", spec={"containers": [container()]})
    c.same("POST", ns + "/pods", plain)
    full = named("Pod", "v1", "full", spec={
        "initContainers": [container("i", restartPolicy="Always")],
        "containers": [container("a", image="app", ports=[{"containerPort": 80, "name": "http"}], resources={"limits": {"cpu": "1", "memory": "1Gi"}},
                                 readinessProbe={"httpGet": {"path": "/", "port": 80}}, livenessProbe={"tcpSocket": {"port": "http"}},
                                 env=[{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}], volumeMounts=[{"name": "v", "mountPath": "/v"}],
                                 securityContext={"runAsUser": 1337, "capabilities": {"drop": ["ALL"]}})],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "s"}},
                    {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"audience": "istio-ca", "path": "token"}}]}},
                    {"name": "d", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}],
        "securityContext": {"fsGroup": 1337}, "terminationGracePeriodSeconds": 5})
    c.same("POST", ns + "/pods", full)
    c.same("GET", ns + "/pods", accept=TABLE)
    c.same("GET", ns + "/pods?fieldSelector=status.phase%3DPending,spec.nodeName%3D")
    c.same("PATCH", ns + "/pods/plain", {"spec": {"restartPolicy": "Never"}}, MERGE)
    c.same("PATCH", ns + "/pods/plain", {"metadata": {"labels": {"a": "b"}}}, STRATEGIC)
    c.same("PATCH", ns + "/pods/plain", {"spec": {"containers": [{"name": "c", "image": "registry.example/app:v2"}]}}, STRATEGIC)
    c.same("POST", ns + "/pods", named("Pod", "v1", "Bad_Name", spec={"containers": [container()]}))
    c.same("POST", ns + "/pods", named("Pod", "v1", "empty", spec={"containers": []}))
    c.same("POST", ns + "/pods", named("Pod", "v1", "twice", spec={"containers": [container(), container()]}))
    c.same("POST", ns + "/pods", named("Pod", "v1", "mount", spec={"containers": [container(volumeMounts=[{"name": "x", "mountPath": "/x"}])]}))
    c.same("POST", ns + "/pods", named("Pod", "v1", "who", spec={"serviceAccountName": "nobody", "containers": [container()]}))
    c.same("POST", ns + "/pods/plain/binding", {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "plain"}, "target": {"kind": "Node", "name": "n"}})
    c.same("PATCH", ns + "/pods/plain/status", {"status": {"phase": "Running", "podIP": "10.0.0.9", "podIPs": [{"ip": "10.0.0.9"}], "containerStatuses": [
        {"name": "c", "ready": True, "started": True, "restartCount": 0, "image": "i", "imageID": "i", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}}, MERGE)
    c.same("GET", ns + "/pods/plain", accept=TABLE)
    c.same("PATCH", ns + "/pods/full/status", {"status": {"containerStatuses": [
        {"name": "a", "ready": False, "restartCount": 3, "image": "i", "imageID": "i", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}, MERGE)
    c.same("GET", ns + "/pods/full", accept=TABLE)
    c.same("DELETE", ns + "/pods/plain")
    c.same("GET", ns + "/pods/plain", accept=TABLE)
    c.same("DELETE", ns + "/pods/plain", {"gracePeriodSeconds": 0})
    c.same("GET", ns + "/pods/plain")


def workloads(c, ns, apps, batch):
    c.same("POST", apps + "/deployments", deployment("web", replicas=2))
    c.same("POST", apps + "/deployments", deployment("re", strategy={"type": "Recreate"}))
    c.same("GET", apps + "/deployments", accept=TABLE)
    c.same("GET", apps + "/deployments/web/scale")
    c.same("PATCH", apps + "/deployments/web/scale", {"spec": {"replicas": 0}}, MERGE)
    c.same("GET", apps + "/deployments/web")
    c.same("PATCH", apps + "/deployments/web/status", {"status": {"replicas": 2, "readyReplicas": 1, "updatedReplicas": 2}}, MERGE)
    c.same("GET", apps + "/deployments/web", accept=TABLE)
    c.same("POST", apps + "/deployments", deployment("bad", selector={"matchLabels": {"app": "x"}}))
    c.same("PATCH", apps + "/deployments/web", {"spec": {"selector": {"matchLabels": {"app": "y"}}}}, MERGE)
    c.same("PATCH", apps + "/deployments/web", {"spec": {"replicas": "many"}}, MERGE)
    template = deployment("x")["spec"]["template"]
    c.same("POST", apps + "/daemonsets", named("DaemonSet", "apps/v1", "ds", spec={"selector": {"matchLabels": {"app": "x"}}, "template": template}))
    c.same("POST", apps + "/statefulsets", named("StatefulSet", "apps/v1", "sts", spec={"serviceName": "s", "selector": {"matchLabels": {"app": "x"}}, "template": template}))
    c.same("POST", apps + "/replicasets", named("ReplicaSet", "apps/v1", "rs", spec={"selector": {"matchLabels": {"app": "x"}}, "template": template}))
    for kind in ("daemonsets", "statefulsets", "replicasets"):
        c.same("GET", apps + "/" + kind, accept=TABLE)
    job = dict(template, spec=dict(template["spec"], restartPolicy="Never"))
    c.same("POST", batch + "/jobs", named("Job", "batch/v1", "job", spec={"template": job}))
    c.same("GET", batch + "/jobs", accept=TABLE)
    c.same("POST", batch + "/cronjobs", named("CronJob", "batch/v1", "cron", spec={"schedule": "* * * * *", "jobTemplate": {"spec": {"template": job}}}))
    c.same("GET", batch + "/cronjobs", accept=TABLE)


def services(c, ns):
    ports = [{"port": 80, "name": "http"}, {"port": 443, "name": "https", "targetPort": "tls", "protocol": "TCP"}]
    c.same("POST", ns + "/services", named("Service", "v1", "plain", spec={"selector": {"app": "x"}, "ports": [{"port": 80}]}))
    c.same("POST", ns + "/services", named("Service", "v1", "lb", spec={"type": "LoadBalancer", "selector": {"app": "x"}, "ports": ports}))
    c.same("POST", ns + "/services", named("Service", "v1", "np", spec={"type": "NodePort", "ports": ports}))
    c.same("POST", ns + "/services", named("Service", "v1", "headless", spec={"clusterIP": "None", "ports": ports}))
    c.same("POST", ns + "/services", named("Service", "v1", "ext", spec={"type": "ExternalName", "externalName": "example.com"}))
    c.same("GET", ns + "/services", accept=TABLE)
    c.same("PATCH", ns + "/services/lb", {"spec": {"externalIPs": ["192.168.229.100"]}}, STRATEGIC, warnings=False)
    c.same("PATCH", ns + "/services/lb/status", {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}, MERGE)
    c.same("GET", ns + "/services/lb", accept=TABLE)
    c.same("PATCH", ns + "/services/lb", {"spec": {"type": "ClusterIP"}}, MERGE, warnings=False)
    c.same("PATCH", ns + "/services/plain", {"spec": {"clusterIP": "10.96.77.77"}}, MERGE)
    c.same("POST", ns + "/services", named("Service", "v1", "noports", spec={}))
    c.same("POST", ns + "/services", named("Service", "v1", "range", spec={"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}))
    c.same("POST", ns + "/services", named("Service", "v1", "names", spec={"ports": [{"port": 80}, {"port": 81}]}))
    c.same("POST", ns + "/endpoints", named("Endpoints", "v1", "ep", subsets=[{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]), warnings=False)
    c.same("GET", ns + "/endpoints/ep", accept=TABLE, warnings=False)
    c.same("POST", "/apis/discovery.k8s.io/v1/namespaces/diff/endpointslices",
           named("EndpointSlice", "discovery.k8s.io/v1", "es", addressType="IPv4", endpoints=[{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}], ports=[{"port": 80}]))
    c.same("GET", "/apis/discovery.k8s.io/v1/namespaces/diff/endpointslices", accept=TABLE)


def others(c, ns, net):
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    c.same("POST", rbac + "/namespaces/diff/roles", named("Role", "rbac.authorization.k8s.io/v1", "r", rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]))
    c.same("POST", rbac + "/namespaces/diff/rolebindings", named("RoleBinding", "rbac.authorization.k8s.io/v1", "rb", subjects=[{"kind": "User", "name": "jane"}],
           roleRef={"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}))
    c.same("GET", rbac + "/namespaces/diff/rolebindings", accept=TABLE)
    c.same("PATCH", rbac + "/namespaces/diff/rolebindings/rb", {"roleRef": {"name": "other"}}, MERGE)
    for user, verb, resource in (("jane", "get", "pods"), ("jane", "list", "pods"), ("kubernetes-admin", "get", "pods")):
        c.same("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": user, "resourceAttributes": {"namespace": "diff", "verb": verb, "resource": resource}}})
    c.same("POST", net + "/ingresses", named("Ingress", "networking.k8s.io/v1", "ing", spec={"rules": [{"host": "a.example", "http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}))
    c.same("GET", net + "/ingresses", accept=TABLE)
    c.same("POST", net + "/networkpolicies", named("NetworkPolicy", "networking.k8s.io/v1", "np", spec={"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}))
    c.same("POST", "/apis/autoscaling/v2/namespaces/diff/horizontalpodautoscalers", named("HorizontalPodAutoscaler", "autoscaling/v2", "hpa", spec={
        "maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]}))
    c.same("GET", "/apis/autoscaling/v2/namespaces/diff/horizontalpodautoscalers", accept=TABLE)
    c.same("GET", "/apis/autoscaling/v1/namespaces/diff/horizontalpodautoscalers/hpa")
    c.same("POST", "/apis/policy/v1/namespaces/diff/poddisruptionbudgets", named("PodDisruptionBudget", "policy/v1", "pdb", spec={"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}))
    c.same("GET", "/apis/policy/v1/namespaces/diff/poddisruptionbudgets", accept=TABLE)
    c.same("POST", "/apis/coordination.k8s.io/v1/namespaces/diff/leases", named("Lease", "coordination.k8s.io/v1", "l", spec={"holderIdentity": "me", "leaseDurationSeconds": 10}))
    c.same("GET", "/apis/coordination.k8s.io/v1/namespaces/diff/leases", accept=TABLE)
    c.same("POST", "/api/v1/nodes", named("Node", "v1", "n1", metadata={"name": "n1", "labels": {"node-role.kubernetes.io/control-plane": ""}},
           status={"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}], "nodeInfo": {"kubeletVersion": "v1.32.0"}}))
    c.same("GET", "/api/v1/nodes/n1", accept=TABLE)
    c.same("POST", ns + "/events", named("Event", "v1", "ev", involvedObject={"kind": "Pod", "name": "p", "namespace": "diff"}, reason="R", message="m", type="Normal",
           firstTimestamp="2026-01-01T00:00:00Z", lastTimestamp="2026-01-01T00:00:00Z", count=2, source={"component": "c"}))
    c.same("GET", "/apis/events.k8s.io/v1/namespaces/diff/events/ev")
    hooks = [{"name": "a.b.c", "clientConfig": {"url": "https://127.0.0.1:1/x"}, "sideEffects": "None", "admissionReviewVersions": ["v1"],
              "rules": [{"operations": ["CREATE"], "apiGroups": ["nothing.example"], "apiVersions": ["*"], "resources": ["*"]}]}]
    c.same("POST", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", named("MutatingWebhookConfiguration", "admissionregistration.k8s.io/v1", "m", webhooks=hooks))
    c.same("POST", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", named("ValidatingWebhookConfiguration", "admissionregistration.k8s.io/v1", "v", webhooks=hooks))
    c.same("GET", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", accept=TABLE)
    c.same("POST", ns + "/persistentvolumeclaims", named("PersistentVolumeClaim", "v1", "pvc", spec={"accessModes": ["ReadWriteOnce"], "storageClassName": "x", "resources": {"requests": {"storage": "1Gi"}}}))
    c.same("GET", ns + "/persistentvolumeclaims", accept=TABLE)


def patches(c, ns, apps):
    one = named("ConfigMap", "v1", "ssa", data={"a": "1", "b": "2"})
    path = ns + "/configmaps/ssa"
    c.same("PATCH", path + "?fieldManager=m1", one, APPLY)
    c.same("PATCH", path + "?fieldManager=m1", one, APPLY)
    c.same("PATCH", path + "?fieldManager=m2", named("ConfigMap", "v1", "ssa", data={"a": "9"}), APPLY)
    c.same("PATCH", path + "?fieldManager=m2&force=true", named("ConfigMap", "v1", "ssa", data={"a": "9"}), APPLY)
    c.same("PATCH", path + "?fieldManager=m1", named("ConfigMap", "v1", "ssa", data={"b": "2"}), APPLY)
    c.same("PATCH", path + "?fieldManager=m2", named("ConfigMap", "v1", "ssa"), APPLY)
    c.same("PATCH", path, named("ConfigMap", "v1", "ssa"), APPLY)
    c.same("PATCH", apps + "/deployments/applied?fieldManager=m1", deployment("applied"), APPLY)
    c.same("PATCH", apps + "/deployments/applied?fieldManager=m2", deployment("applied", replicas=3), APPLY)
    c.same("PATCH", apps + "/deployments/applied", [{"op": "add", "path": "/metadata/labels", "value": {"x": "y"}}], JSONP)
    c.same("PATCH", apps + "/deployments/applied", [{"op": "test", "path": "/spec/replicas", "value": 99}], JSONP)
    c.same("PATCH", apps + "/deployments/applied", [{"op": "remove", "path": "/spec/nothing"}], JSONP)
    c.same("PATCH", apps + "/deployments/applied", {"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "x:1"}]}}}}, STRATEGIC)
    c.same("PATCH", apps + "/deployments/applied", {"spec": {"template": {"spec": {"containers": [{"name": "d", "$patch": "delete"}]}}}}, STRATEGIC)
    c.same("PATCH", apps + "/deployments/applied", {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}, STRATEGIC)
    c.same("PATCH", apps + "/deployments/absent", {}, MERGE)
    c.same("PATCH", apps + "/deployments/applied", {}, "text/plain")
