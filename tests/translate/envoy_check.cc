#include "tests/translate/envoy_check.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>

namespace isthmus::translate {
namespace {

using kubeapi::Json;
namespace fs = std::filesystem;

/// Puts the named routes in place of the requests for them.
void InlineRoutes(const std::map<std::string, Json>& routes, Json* node) {
  if (node->is_array()) {
    for (Json& item : *node) InlineRoutes(routes, &item);
    return;
  }
  if (!node->is_object()) return;
  if (node->contains("rds")) {
    auto found = routes.find(node->at("rds").at("routeConfigName").get<std::string>());
    if (found != routes.end()) {
      (*node)["routeConfig"] = found->second;
      node->erase("rds");
    }
  }
  for (auto& [key, value] : node->items()) InlineRoutes(routes, &value);
}

Json Strip(Json resource) {
  resource.erase("@type");
  return resource;
}

Json StaticCluster(const std::string& name) {
  return Json::parse(R"({"name":")" + name + R"(","type":"STATIC","connect_timeout":"1s",
    "typed_extension_protocol_options":{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":{
      "@type":"type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
      "explicit_http_config":{"http2_protocol_options":{}}}},
    "load_assignment":{"cluster_name":")" +
                     name + R"(","endpoints":[{"lb_endpoints":[{"endpoint":{"address":{
      "pipe":{"path":"/nowhere"}}}}]}]}})");
}

/// Assignments cannot be given to EDS clusters here, so each is checked as that of a STATIC
/// cluster.
void AddAssignments(const Json& view, Json* clusters) {
  if (!view.contains("ClusterLoadAssignment")) return;
  for (const Json& assignment : view.at("ClusterLoadAssignment")) {
    Json cluster = {{"name", "check " + assignment.at("clusterName").get<std::string>()},
                    {"type", "STATIC"},
                    {"connectTimeout", "1s"},
                    {"loadAssignment", Strip(assignment)}};
    clusters->push_back(std::move(cluster));
  }
}

Json Bootstrap(const Json& view) {
  Json clusters = Json::array({StaticCluster("xds-grpc"), StaticCluster("sds-grpc")});
  if (view.contains("Cluster")) {
    for (const Json& cluster : view.at("Cluster")) clusters.push_back(Strip(cluster));
  }
  AddAssignments(view, &clusters);
  std::map<std::string, Json> routes;
  if (view.contains("RouteConfiguration")) {
    for (const Json& route : view.at("RouteConfiguration")) routes[route.at("name")] = Strip(route);
  }
  Json listeners = Json::array();
  if (view.contains("Listener")) {
    for (const Json& listener : view.at("Listener")) listeners.push_back(Strip(listener));
  }
  InlineRoutes(routes, &listeners);
  Json bootstrap = Json::parse(R"({"node":{"id":"test","cluster":"test"},
    "dynamic_resources":{"ads_config":{"api_type":"GRPC","transport_api_version":"V3",
      "grpc_services":[{"envoy_grpc":{"cluster_name":"xds-grpc"}}]}}})");
  bootstrap["static_resources"] = {{"clusters", std::move(clusters)},
                                   {"listeners", std::move(listeners)}};
  return bootstrap;
}

}  // namespace

std::string EnvoyComplaint(const Json& view) {
  const fs::path program = fs::path(ISTHMUS_THIRD_PARTY) / "envoy/envoy";
  if (!fs::exists(program)) return "no Envoy at " + program.string() + ": run tools/setup/fetch.py";
  std::string folder = (fs::temp_directory_path() / "isthmus-golden-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return "cannot make a temporary folder";
  const fs::path file = fs::path(folder) / "bootstrap.json";
  std::ofstream(file) << Bootstrap(view).dump(1);
  const std::string command = program.string() + " --mode validate -l warning --concurrency 1 -c " +
                              file.string() + " 2>&1";
  std::string output;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "cannot run Envoy";
  std::array<char, 4096> buffer;
  while (size_t count = fread(buffer.data(), 1, buffer.size(), pipe))
    output.append(buffer.data(), count);
  const int status = pclose(pipe);
  if (std::getenv("ISTHMUS_KEEP_BOOTSTRAP") == nullptr) fs::remove_all(folder);
  return status == 0 ? "" : "Envoy refuses it: " + output;
}

}  // namespace isthmus::translate
