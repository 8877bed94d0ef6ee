#!/bin/bash
# Prints the helloworld sample for one version, with or without its Service.
#
#   gen-helloworld.sh --version v3 | kubectl apply -n sample -f -
set -euo pipefail

SERVICE_VERSION=${SERVICE_VERSION:-v1}
INCLUDE_SERVICE=${INCLUDE_SERVICE:-true}
INCLUDE_DEPLOYMENT=${INCLUDE_DEPLOYMENT:-true}

usage() {
  echo "usage: gen-helloworld.sh [--version VERSION] [--includeService true|false] [--includeDeployment true|false]" >&2
}

while [ $# -gt 0 ]; do
  case "$1" in
    -h|--help) usage; exit 0 ;;
    --version|--includeService|--includeDeployment)
      if [ $# -lt 2 ]; then
        echo "$1 needs a value" >&2
        usage
        exit 1
      fi
      case "$1" in
        --version) SERVICE_VERSION=$2 ;;
        --includeService) INCLUDE_SERVICE=$2 ;;
        --includeDeployment) INCLUDE_DEPLOYMENT=$2 ;;
      esac
      shift 2 ;;
    *) echo "unknown option $1" >&2; usage; exit 1 ;;
  esac
done

if [ "$INCLUDE_SERVICE" = true ]; then
  cat <<'EOF'
apiVersion: v1
kind: Service
metadata:
  name: helloworld
  labels:
    app: helloworld
    service: helloworld
spec:
  ports:
    - port: 5000
      name: http
  selector:
    app: helloworld
---
EOF
fi
if [ "$INCLUDE_DEPLOYMENT" = true ]; then
  cat <<EOF
apiVersion: apps/v1
kind: Deployment
metadata:
  name: helloworld-$SERVICE_VERSION
  labels:
    version: $SERVICE_VERSION
spec:
  replicas: 1
  selector:
    matchLabels:
      app: helloworld
      version: $SERVICE_VERSION
  template:
    metadata:
      labels:
        app: helloworld
        version: $SERVICE_VERSION
    spec:
      containers:
        - name: helloworld
          env:
            - name: SERVICE_VERSION
              value: $SERVICE_VERSION
          image: istio/examples-helloworld-v1
          imagePullPolicy: IfNotPresent
          resources:
            requests:
              cpu: 100m
          ports:
            - containerPort: 5000
EOF
fi
