#!/bin/bash
# Prints the IstioOperator of an east-west gateway, for `istioctl install -y -f -`.
#
#   gen-eastwest-gateway.sh --mesh mesh1 --cluster cluster1 --network network1 | istioctl install -y -f -
set -euo pipefail

SINGLE_CLUSTER=${SINGLE_CLUSTER:-0}
REVISION=${REVISION:-}
MESH=${MESH:-}
CLUSTER=${CLUSTER:-}
NETWORK=${NETWORK:-}

usage() {
  cat >&2 <<'EOF'
usage: gen-eastwest-gateway.sh --network NAME [--mesh NAME] [--cluster NAME] [--revision NAME]
       gen-eastwest-gateway.sh --single-cluster
EOF
}

value_of() {
  if [ $# -lt 2 ]; then
    echo "$1 needs a value" >&2
    usage
    exit 1
  fi
  printf '%s' "$2"
}

while [ $# -gt 0 ]; do
  case "$1" in
    --single-cluster) SINGLE_CLUSTER=1; shift ;;
    --mesh) MESH=$(value_of "$@"); shift 2 ;;
    --cluster) CLUSTER=$(value_of "$@"); shift 2 ;;
    --network) NETWORK=$(value_of "$@"); shift 2 ;;
    --revision) REVISION=$(value_of "$@"); shift 2 ;;
    -h|--help) usage; exit 0 ;;
    *) echo "unknown option $1" >&2; usage; exit 1 ;;
  esac
done

if [ "$SINGLE_CLUSTER" = 0 ] && [ -z "$NETWORK" ]; then
  echo "--network is required unless --single-cluster is given"
  exit 1
fi

cat <<EOF
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata:
  name: eastwest
spec:
  revision: "$REVISION"
  profile: empty
  components:
    ingressGateways:
      - name: istio-eastwestgateway
        label:
          istio: eastwestgateway
          app: istio-eastwestgateway
EOF
if [ "$SINGLE_CLUSTER" = 0 ]; then
  cat <<EOF
          topology.istio.io/network: $NETWORK
EOF
fi
cat <<EOF
        enabled: true
        k8s:
EOF
if [ "$SINGLE_CLUSTER" = 0 ]; then
  cat <<EOF
          env:
            # Makes the gateway route by SNI to the services of its own network.
            - name: ISTIO_META_REQUESTED_NETWORK_VIEW
              value: $NETWORK
EOF
fi
cat <<EOF
          service:
            ports:
              - name: status-port
                port: 15021
                targetPort: 15021
              - name: tls
                port: 15443
                targetPort: 15443
              - name: tls-istiod
                port: 15012
                targetPort: 15012
              - name: tls-webhook
                port: 15017
                targetPort: 15017
  values:
    gateways:
      istio-ingressgateway:
        injectionTemplate: gateway
EOF
if [ "$SINGLE_CLUSTER" = 0 ] || [ -n "$MESH" ] || [ -n "$CLUSTER" ]; then
  echo "    global:"
fi
[ -z "$MESH" ] || echo "      meshID: $MESH"
[ -z "$CLUSTER" ] || printf '      multiCluster:\n        clusterName: %s\n' "$CLUSTER"
[ "$SINGLE_CLUSTER" != 0 ] || echo "      network: $NETWORK"
