# A root CA of one's own, and an intermediate CA under it for each cluster of the mesh:
#
#   make -f tools/certs/Makefile.selfsigned.mk root-ca
#   make -f tools/certs/Makefile.selfsigned.mk cluster1-cacerts cluster2-cacerts
#
# Then, in each cluster, before the control plane starts:
#
#   kubectl create secret generic cacerts -n istio-system --from-file=cluster1/ca-cert.pem \
#     --from-file=cluster1/ca-key.pem --from-file=cluster1/root-cert.pem --from-file=cluster1/cert-chain.pem

.DEFAULT_GOAL := help
SELF_DIR := $(dir $(lastword $(MAKEFILE_LIST)))

.PHONY: help root-ca clean

help:
	@echo "root-ca          makes a root key and certificate here"
	@echo "<name>-cacerts   makes an intermediate CA for a cluster, in the folder <name>"
	@echo "<ns>-certs       makes a workload certificate for a namespace, in the folder <ns>"
	@echo "clean            removes the root key, certificate and requests"

include $(SELF_DIR)common.mk

root-ca: root-key.pem root-cert.pem

root-key.pem:
	@echo "generating $@"
	@(umask 077 && openssl genrsa -out $@ $(ROOTCA_KEYSZ) 2>/dev/null)

root-ca.conf:
	@printf '%s\n' \
	  '[ req ]' \
	  'encrypt_key = no' \
	  'prompt = no' \
	  'utf8 = yes' \
	  'default_md = sha256' \
	  'default_bits = $(ROOTCA_KEYSZ)' \
	  'req_extensions = req_ext' \
	  'x509_extensions = req_ext' \
	  'distinguished_name = req_dn' \
	  '[ req_ext ]' \
	  'subjectKeyIdentifier = hash' \
	  'basicConstraints = critical, CA:true' \
	  'keyUsage = critical, digitalSignature, nonRepudiation, keyEncipherment, keyCertSign' \
	  '[ req_dn ]' \
	  'O = $(ROOTCA_ORG)' \
	  'CN = $(ROOTCA_CN)' > $@

root-cert.csr: root-key.pem root-ca.conf
	@echo "generating $@"
	@openssl req -sha256 -new -key $< -config root-ca.conf -out $@

root-cert.pem: root-cert.csr root-key.pem root-ca.conf
	@echo "generating $@"
	@openssl x509 -req -sha256 -days $(ROOTCA_DAYS) -signkey root-key.pem -extensions req_ext -extfile root-ca.conf \
	  -in $< -out $@

clean:
	@rm -f root-cert.csr root-ca.conf root-cert.pem root-key.pem root-cert.srl
