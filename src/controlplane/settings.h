#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace isthmus::controlplane {

/// What the program was told by flags and environment, in Istio's names. A value.
struct Settings {
  // Who we are.
  std::string ns = "istio-system";                     ///< POD_NAMESPACE, --namespace
  std::string pod_name;                                ///< POD_NAME, else the host's name
  std::string revision;                                ///< REVISION; "" for "default"
  std::string cluster_id = "Kubernetes";               ///< CLUSTER_ID, --clusterID
  std::map<std::string, std::string> cluster_aliases;  ///< --clusterAliases alias=id
  std::string domain = "cluster.local";                ///< --domain

  // Ports; an empty address opens none.
  std::string grpc_addr;                    ///< --grpcAddr; plaintext, so only when asked for.
  std::string secure_grpc_addr = ":15012";  ///< --secureGRPCAddr
  std::string http_addr = ":8080";          ///< --httpAddr
  std::string https_addr = ":15017";        ///< --httpsAddr
  std::string monitoring_addr = ":15014";   ///< --monitoringAddr

  // Where things are read.
  std::string
      kubeconfig;  ///< --kubeconfig, else KUBECONFIG when that file is there; empty: in-cluster.
  std::string mesh_config =
      "./etc/istio/config/mesh";  ///< --meshConfig; a file wins over the ConfigMap.
  std::string networks_config = "./etc/istio/config/meshNetworks";  ///< --networksConfig
  std::string inject_folder = "./var/lib/istio/inject";
  std::string ca_folder = "./etc/cacerts";  ///< ROOT_CA_DIR
  std::string
      state_folder;  ///< ISTHMUS_STATE_DIR: last good state of remote clusters; empty keeps none.
  std::string tls_cert_file;
  std::string tls_key_file;
  std::string ca_cert_file;

  // What is on.
  bool xds_auth = true;                  ///< XDS_AUTH
  bool xds_auth_plaintext = false;       ///< XDS_AUTH_PLAINTEXT
  bool check_identity = true;            ///< PILOT_ENABLE_XDS_IDENTITY_CHECK
  bool ca_enabled = true;                ///< ENABLE_CA_SERVER
  bool inject_enabled = true;            ///< INJECT_ENABLED
  bool validation_enabled = true;        ///< VALIDATION_ENABLED
  bool debug_on_http = true;             ///< ENABLE_DEBUG_ON_HTTP
  bool debug_auth = true;                ///< ENABLE_DEBUG_ENDPOINT_AUTH
  std::string external_ca;               ///< EXTERNAL_CA; "ISTIOD_RA_KUBERNETES_API" or empty.
  std::string k8s_signer;                ///< K8S_SIGNER
  std::string cert_signer_domain;        ///< CERT_SIGNER_DOMAIN
  bool failover = true;                  ///< ISTHMUS_FAILOVER: stand in for other control planes.
  bool multi_root = false;               ///< ISTIO_MULTIROOT_MESH
  bool leads_remotes = false;            ///< EXTERNAL_ISTIOD: cares for remotes that name us.
  std::string native_sidecars = "auto";  ///< ENABLE_NATIVE_SIDECARS
  std::string injection_webhook =
      "istio-sidecar-injector";  ///< INJECTION_WEBHOOK_CONFIG_NAME; empty is off.
  std::string validation_webhook =
      "istio-istio-system";  ///< VALIDATION_WEBHOOK_CONFIG_NAME; empty is off.
  std::vector<std::string> token_audiences = {"istio-ca"};  ///< TOKEN_AUDIENCES
  std::string custom_hosts;                                 ///< ISTIOD_CUSTOM_HOST
  std::string root_config_map = "istio-ca-root-cert";       ///< PILOT_CA_CERT_CONFIGMAP
  std::string insecure_kubeconfig_options;  ///< PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS

  // Times.
  base::Duration shutdown_duration = std::chrono::seconds(10);  ///< --shutdownDuration
  base::Duration max_connection_age{};  ///< --keepaliveMaxServerConnectionAge; 0: none.
  base::Duration keepalive = std::chrono::seconds(30);             ///< --keepaliveInterval
  base::Duration remote_timeout = std::chrono::seconds(30);        ///< PILOT_REMOTE_CLUSTER_TIMEOUT
  std::chrono::seconds default_cert_ttl = std::chrono::hours(24);  ///< DEFAULT_WORKLOAD_CERT_TTL
  std::chrono::seconds max_cert_ttl = std::chrono::hours(2160);    ///< MAX_WORKLOAD_CERT_TTL
  std::chrono::seconds root_ttl = std::chrono::hours(87600);  ///< CITADEL_SELF_SIGNED_CA_CERT_TTL

  std::string log_level = "info";
  bool log_json = false;

  std::string ShownRevision() const { return revision.empty() ? "default" : revision; }
};

using Environment = std::map<std::string, std::string>;

/// Reads the arguments after "discovery" and the environment. Flags of Istio's that have no meaning
/// here are accepted; unknown ones and wrong values are errors that name the flag.
base::Result<Settings> ReadSettings(const std::vector<std::string>& arguments,
                                    const Environment& environment);
/// The process's own environment.
Environment OwnEnvironment();
/// What `discovery --help` prints.
std::string Usage();

}  // namespace isthmus::controlplane
