#include "controlplane/metrics.h"

#include <unistd.h>

#include <cstdio>

#include "base/version.h"

namespace isthmus::controlplane {
namespace {

// Resident memory of this process in bytes; 0 where /proc is not there.
double ResidentBytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  long total = 0;
  long resident = 0;
  const int read = std::fscanf(file, "%ld %ld", &total, &resident);
  std::fclose(file);
  return read == 2 ? static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace

void AddMetrics(base::MetricRegistry& metrics, const ads::Server& xds,
                const translate::Translator& translator, const inject::InjectionStats& injection,
                const inject::ValidationStats& validation) {
  const auto number = [&metrics](std::string_view name, std::string_view help,
                                 const base::Labels& labels, auto read) {
    metrics.AddGaugeFunction(name, help, labels, [read] { return static_cast<double>(read()); });
  };
  metrics
      .AddGauge("istio_build", "Version of this component.",
                {{"component", "pilot"}, {"tag", std::string(base::kVersion)}})
      .Set(1);
  number("process_resident_memory_bytes", "Resident memory.", {}, ResidentBytes);
  number("pilot_xds", "Proxies connected by xDS.", {{"version", std::string(base::kVersion)}},
         [&xds] { return xds.connection_count(); });
  constexpr const char* kTypes[] = {"cds", "eds", "lds", "rds", "sds", "other"};
  for (size_t i = 0; i < std::size(kTypes); ++i) {
    number("pilot_xds_pushes", "Responses sent to proxies.", {{"type", kTypes[i]}},
           [&xds, i] { return xds.stats().pushes[i]; });
    number(fmt::format("pilot_xds_{}_reject", kTypes[i]), "Responses that a proxy rejected.", {},
           [&xds, i] { return xds.stats().rejects[i]; });
  }
  number("pilot_total_xds_rejects", "Responses that proxies rejected.", {}, [&xds] {
    uint64_t total = 0;
    for (uint64_t rejects : xds.stats().rejects) total += rejects;
    return total;
  });
  number("pilot_xds_expired_nonce", "Requests that answered an older response.", {},
         [&xds] { return xds.stats().stale; });
  number("pilot_xds_sent_bytes", "Bytes of resources sent to proxies.", {},
         [&xds] { return xds.stats().sent_bytes; });
  number("isthmus_view_classes", "Kinds of proxies that see different things.", {},
         [&translator] { return translator.stats().classes; });
  number("sidecar_injection_requests_total", "Pods that the webhook was shown.", {},
         [&injection] { return injection.requests; });
  number("sidecar_injection_success_total", "Pods that got a proxy.", {},
         [&injection] { return injection.success; });
  number("sidecar_injection_failure_total", "Pods that were refused.", {},
         [&injection] { return injection.failure; });
  number("sidecar_injection_skip_total", "Pods that were left alone.", {},
         [&injection] { return injection.skipped; });
  number("galley_validation_passed", "Objects that were accepted.", {},
         [&validation] { return validation.passed; });
  number("galley_validation_failed", "Objects that were refused.", {},
         [&validation] { return validation.failed; });
}

}  // namespace isthmus::controlplane
