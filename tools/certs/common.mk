# What the certificate makefiles share: settings, openssl's configuration files, intermediate CAs.

# Settings; change them on make's command line.
ROOTCA_DAYS ?= 3650
ROOTCA_KEYSZ ?= 4096
ROOTCA_ORG ?= Istio
ROOTCA_CN ?= Root CA
INTERMEDIATE_DAYS ?= 3650
INTERMEDIATE_KEYSZ ?= 4096
INTERMEDIATE_ORG ?= Istio
INTERMEDIATE_CN ?= Intermediate CA
# The name under which other clusters' proxies know the control plane.
INTERMEDIATE_SAN_DNS ?= istiod.istio-system.svc
WORKLOAD_DAYS ?= 1
WORKLOAD_CN ?= Workload
SERVICE_ACCOUNT ?= default
ISTIO_NAMESPACE ?= istio-system

# Keys are kept; requests and configuration files are make's to remove.
.PRECIOUS: %/ca-key.pem %/ca-cert.pem %/cert-chain.pem %/root-cert.pem root-key.pem root-cert.pem root-cert.csr root-ca.conf
.SUFFIXES:

%/ca-key.pem:
	@echo "generating $@"
	@mkdir -p $(dir $@)
	@(umask 077 && openssl genrsa -out $@ $(INTERMEDIATE_KEYSZ) 2>/dev/null)

%/intermediate.conf:
	@mkdir -p $(dir $@)
	@printf '%s\n' \
	  '[ req ]' \
	  'encrypt_key = no' \
	  'prompt = no' \
	  'utf8 = yes' \
	  'default_md = sha256' \
	  'default_bits = $(INTERMEDIATE_KEYSZ)' \
	  'req_extensions = req_ext' \
	  'x509_extensions = req_ext' \
	  'distinguished_name = req_dn' \
	  '[ req_ext ]' \
	  'subjectKeyIdentifier = hash' \
	  'basicConstraints = critical, CA:true, pathlen:0' \
	  'keyUsage = critical, digitalSignature, nonRepudiation, keyEncipherment, keyCertSign' \
	  'subjectAltName = @san' \
	  '[ san ]' \
	  'DNS.1 = $(INTERMEDIATE_SAN_DNS)' \
	  '[ req_dn ]' \
	  'O = $(INTERMEDIATE_ORG)' \
	  'CN = $(INTERMEDIATE_CN)' \
	  'L = $(patsubst %/,%,$(dir $@))' > $@

%/cluster-ca.csr: %/ca-key.pem %/intermediate.conf
	@echo "generating $@"
	@openssl req -sha256 -new -config $(word 2,$^) -key $< -out $@

%/ca-cert.pem: %/cluster-ca.csr %/intermediate.conf root-key.pem root-cert.pem
	@echo "generating $@"
	@openssl x509 -sha256 -req -days $(INTERMEDIATE_DAYS) -CA root-cert.pem -CAkey root-key.pem -CAcreateserial \
	  -extensions req_ext -extfile $(word 2,$^) -in $< -out $@

%/cert-chain.pem: %/ca-cert.pem root-cert.pem
	@echo "generating $@"
	@cat $^ > $@

# <name>-cacerts: an intermediate CA for the cluster <name>, in the folder <name>.
%-cacerts: %/cert-chain.pem
	@cp root-cert.pem $*/root-cert.pem
	@echo "Intermediate inputs stored in $*/"
	@echo "done"

# <namespace>-certs: a key and a certificate for a workload outside Kubernetes, in the folder <namespace>.
%-certs: root-key.pem root-cert.pem
	@mkdir -p $*
	@echo "generating $*/key.pem"
	@(umask 077 && openssl genrsa -out $*/key.pem $(INTERMEDIATE_KEYSZ) 2>/dev/null)
	@printf '%s\n' \
	  '[ req ]' \
	  'encrypt_key = no' \
	  'prompt = no' \
	  'utf8 = yes' \
	  'default_md = sha256' \
	  'req_extensions = req_ext' \
	  'distinguished_name = req_dn' \
	  '[ req_ext ]' \
	  'subjectKeyIdentifier = hash' \
	  'basicConstraints = critical, CA:false' \
	  'keyUsage = digitalSignature, keyEncipherment' \
	  'extendedKeyUsage = serverAuth, clientAuth' \
	  'subjectAltName = critical, URI:spiffe://cluster.local/ns/$*/sa/$(SERVICE_ACCOUNT)' \
	  '[ req_dn ]' \
	  'O = $(INTERMEDIATE_ORG)' \
	  'CN = $(WORKLOAD_CN)' > $*/workload.conf
	@openssl req -sha256 -new -config $*/workload.conf -key $*/key.pem -out $*/workload.csr
	@echo "generating $*/workload-cert.pem"
	@openssl x509 -sha256 -req -days $(WORKLOAD_DAYS) -CA root-cert.pem -CAkey root-key.pem -CAcreateserial \
	  -extensions req_ext -extfile $*/workload.conf -in $*/workload.csr -out $*/workload-cert.pem
	@cat $*/workload-cert.pem root-cert.pem > $*/workload-cert-chain.pem
	@cp root-cert.pem $*/root-cert.pem
	@rm -f $*/workload.csr $*/workload.conf
	@echo "done"
