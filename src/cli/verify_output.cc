#include "cli/verify_output.h"

#include <fmt/format.h>

#include <set>

#include "base/strings.h"
#include "cli/table.h"

namespace isthmus::cli {
namespace {

using install::ServiceView;
using install::TrafficRow;
using install::VerifyLine;
using install::VerifyReport;
using kubeapi::Json;

/// Who holds an expected endpoint: "11 of 11", or who does not.
std::string HeldBy(const ServiceView& view, const std::string& address) {
  const int all = view.agree + static_cast<int>(view.others.size());
  std::vector<std::string> without;
  for (const auto& [proxy, held] : view.others)
    if (!held.contains(address)) without.push_back(proxy);
  const std::string count = fmt::format("{} of {}", all - static_cast<int>(without.size()), all);
  if (without.empty()) return count;
  if (without.size() > 3)
    return fmt::format("{}, not {} and {} more", count, without[0], without.size() - 1);
  return count + ", not " + base::Join(without, ", ");
}

void AddView(const ServiceView& view, Table& table) {
  std::string name = install::ShortService(view.service);
  std::set<std::string> known;
  if (view.expected.empty() && view.others.empty()) table.Add({name, "(none)", "no ready pod", ""});
  for (const install::ExpectedEndpoint& endpoint : view.expected) {
    // Several clusters behind one gateway are one address.
    if (!known.insert(endpoint.address).second) continue;
    table.Add({std::exchange(name, ""), endpoint.address, endpoint.origin,
               HeldBy(view, endpoint.address)});
  }
  std::map<std::string, std::vector<std::string>> extra;
  for (const auto& [proxy, held] : view.others)
    for (const std::string& address : held)
      if (!known.contains(address)) extra[address].push_back(proxy);
  for (const auto& [address, proxies] : extra)
    table.Add({std::exchange(name, ""), address, "not expected",
               proxies.size() == 1
                   ? proxies[0]
                   : fmt::format("{} and {} more", proxies[0], proxies.size() - 1)});
}

std::string ViewsText(const VerifyReport& report, const install::Topology& topology) {
  std::string text;
  for (const install::TopologyCluster& cluster : topology.clusters) {
    text += fmt::format("{} (network {}, control plane {})\n", cluster.name,
                        cluster.network.empty() ? "not stated" : cluster.network,
                        cluster.control_plane);
    Table table(3);
    table.Add({"SERVICE", "ENDPOINT EXPECTED", "WHAT IT IS", "HELD BY PROXIES"});
    for (const ServiceView& view : report.views)
      if (view.cluster == cluster.name) AddView(view, table);
    text += table.Text() + "\n";
  }
  return text;
}

std::string TrafficText(const std::vector<TrafficRow>& rows) {
  if (rows.empty()) return "";
  std::set<std::string> columns;
  for (const TrafficRow& row : rows)
    for (const auto& [cluster, count] : row.answered_by) columns.insert(cluster);
  Table table(3);
  std::vector<std::string> header = {"FROM", "TO", "REQUESTS", "FAILED"};
  header.insert(header.end(), columns.begin(), columns.end());
  table.Add(header);
  for (const TrafficRow& row : rows) {
    std::vector<std::string> cells = {row.cluster + " " + row.from, row.url,
                                      std::to_string(row.requests), std::to_string(row.failed)};
    for (const std::string& column : columns) {
      const auto found = row.answered_by.find(column);
      cells.push_back(found == row.answered_by.end() ? "0" : std::to_string(found->second));
    }
    table.Add(std::move(cells));
  }
  return "Requests, and how many the client's Envoy sent to each cluster\n" + table.Text() + "\n";
}

std::string ChecksText(const VerifyReport& report) {
  Table table(3);
  table.Add({"CLUSTER", "CHECK", "RESULT", "DETAIL"});
  for (const VerifyLine& line : report.lines) {
    const std::vector<std::string_view> parts = base::Split(line.detail, '\n');
    table.Add({line.cluster, line.what, line.ok ? "ok" : "WRONG",
               parts.empty() ? "" : std::string(parts[0])});
    for (size_t i = 1; i < parts.size(); ++i) table.Add({"", "", "", std::string(parts[i])});
  }
  return table.Text();
}

}  // namespace

std::string VerifyText(const VerifyReport& report, const install::Topology& topology, bool views) {
  return (views ? ViewsText(report, topology) : "") + TrafficText(report.traffic) +
         ChecksText(report);
}

Json VerifyJson(const VerifyReport& report) {
  Json list = Json::array();
  for (const VerifyLine& line : report.lines)
    list.push_back({{"cluster", line.cluster},
                    {"check", line.what},
                    {"ok", line.ok},
                    {"detail", line.detail}});
  for (const ServiceView& view : report.views) {
    Json one = {
        {"cluster", view.cluster},   {"check", "view of " + install::ShortService(view.service)},
        {"ok", view.others.empty()}, {"proxies", view.agree + static_cast<int>(view.others.size())},
        {"expected", Json::array()}, {"others", Json::object()}};
    for (const install::ExpectedEndpoint& endpoint : view.expected)
      one["expected"].push_back({{"address", endpoint.address},
                                 {"origin", endpoint.origin},
                                 {"cluster", endpoint.cluster}});
    for (const auto& [proxy, held] : view.others) one["others"][proxy] = held;
    list.push_back(std::move(one));
  }
  for (const TrafficRow& row : report.traffic)
    list.push_back({{"cluster", row.cluster},
                    {"check", "traffic from " + row.from + " to " + row.url},
                    {"ok", row.failed == 0},
                    {"requests", row.requests},
                    {"failed", row.failed},
                    {"sentTo", row.answered_by}});
  for (const install::Finding& finding : report.findings)
    list.push_back({{"cluster", finding.cluster},
                    {"check", "cause"},
                    {"ok", false},
                    {"object", finding.object},
                    {"problem", finding.problem},
                    {"do", finding.remedy},
                    {"explains", finding.explains}});
  return list;
}

}  // namespace isthmus::cli
