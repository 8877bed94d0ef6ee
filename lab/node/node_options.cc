#include "kubeapi/json.h"
#include "lab/node/node.h"

namespace isthmus::lab::node {

using kubeapi::Json;

std::string NodeOptions::ToJson() const {
  const Json json = {{"name", name},
                     {"address", address},
                     {"podRange", pod_range},
                     {"kubeconfig", kubeconfig},
                     {"dir", dir},
                     {"dnsAddress", dns_address},
                     {"clusterDomain", cluster_domain},
                     {"device", device},
                     {"kubeletCertificate", kubelet_certificate},
                     {"kubeletKey", kubelet_key},
                     {"clientCA", client_ca},
                     {"ownsExternalAddresses", owns_external_addresses},
                     {"kernelRules", kernel_rules},
                     {"labels", labels},
                     {"programs", programs},
                     {"imageTables", image_tables},
                     {"hidden", hidden},
                     {"rules",
                      {{"direct", rules.direct},
                       {"friends", rules.friends},
                       {"openPorts", rules.open_ports},
                       {"openNodePorts", rules.open_node_ports},
                       {"serviceRange", rules.service_range},
                       {"dnsPort", rules.dns_port}}}};
  return kubeapi::ToJson(json);
}

base::Result<NodeOptions> NodeOptions::FromJson(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, kubeapi::ParseJson(text), "node options");
  NodeOptions options;
  try {
    options.name = json.at("name");
    options.address = json.at("address");
    options.pod_range = json.at("podRange");
    options.kubeconfig = json.at("kubeconfig");
    options.dir = json.at("dir");
    options.dns_address = json.at("dnsAddress");
    options.cluster_domain = json.at("clusterDomain");
    options.device = json.at("device");
    options.kubelet_certificate = json.at("kubeletCertificate");
    options.kubelet_key = json.at("kubeletKey");
    options.client_ca = json.at("clientCA");
    options.owns_external_addresses = json.at("ownsExternalAddresses");
    options.kernel_rules = json.at("kernelRules");
    options.labels = json.at("labels").get<std::map<std::string, std::string>>();
    options.programs = json.at("programs").get<std::map<std::string, std::string>>();
    options.image_tables = json.at("imageTables").get<std::vector<std::string>>();
    options.hidden = json.at("hidden").get<std::vector<std::string>>();
    const Json& rules = json.at("rules");
    options.rules.direct = rules.at("direct").get<std::vector<std::string>>();
    options.rules.friends = rules.at("friends").get<std::vector<std::string>>();
    options.rules.open_ports = rules.at("openPorts").get<std::vector<uint16_t>>();
    options.rules.open_node_ports = rules.at("openNodePorts");
    options.rules.service_range = rules.at("serviceRange");
    options.rules.dns_port = rules.at("dnsPort");
  } catch (const Json::exception& error) {
    return base::Error(base::Code::kInvalidArgument, "node options: {}", error.what());
  }
  options.rules.node_address = options.address;
  options.rules.pod_range = options.pod_range;
  options.rules.dns_service = options.dns_address;
  return options;
}

}  // namespace isthmus::lab::node
