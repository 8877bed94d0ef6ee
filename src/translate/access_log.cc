#include "translate/access_log.h"

#include <google/protobuf/util/json_util.h>

#include "envoy/config/accesslog/v3/accesslog.pb.h"
#include "envoy/extensions/access_loggers/file/v3/file.pb.h"
#include "envoy/extensions/access_loggers/filters/cel/v3/cel.pb.h"
#include "istio/mesh/v1alpha1/config.pb.h"
#include "translate/pack.h"

namespace isthmus::translate {
namespace {

using istio::mesh::v1alpha1::MeshConfig;

constexpr char kText[] =
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" "
    "%RESPONSE_CODE% "
    "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "
    "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" "
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% "
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

constexpr std::pair<const char*, const char*> kFields[] = {
    {"start_time", "%START_TIME%"},
    {"route_name", "%ROUTE_NAME%"},
    {"method", "%REQ(:METHOD)%"},
    {"path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"},
    {"protocol", "%PROTOCOL%"},
    {"response_code", "%RESPONSE_CODE%"},
    {"response_flags", "%RESPONSE_FLAGS%"},
    {"response_code_details", "%RESPONSE_CODE_DETAILS%"},
    {"connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"},
    {"bytes_received", "%BYTES_RECEIVED%"},
    {"bytes_sent", "%BYTES_SENT%"},
    {"duration", "%DURATION%"},
    {"upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"},
    {"x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"},
    {"user_agent", "%REQ(USER-AGENT)%"},
    {"request_id", "%REQ(X-REQUEST-ID)%"},
    {"authority", "%REQ(:AUTHORITY)%"},
    {"upstream_host", "%UPSTREAM_HOST%"},
    {"upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"},
    {"upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"},
    {"downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"},
    {"downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"},
    {"requested_server_name", "%REQUESTED_SERVER_NAME%"},
    {"upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"},
};

void WriteAccessLog(const AccessLog& from, envoy::config::accesslog::v3::AccessLog* log) {
  envoy::extensions::access_loggers::file::v3::FileAccessLog file;
  file.set_path(from.file);
  auto* format = file.mutable_log_format();
  if (from.json) {
    google::protobuf::Struct fields;
    if (from.format.empty() ||
        !google::protobuf::util::JsonStringToMessage(from.format, &fields).ok()) {
      fields.Clear();
      for (const auto& [name, value] : kFields)
        (*fields.mutable_fields())[name].set_string_value(value);
    }
    *format->mutable_json_format() = std::move(fields);
  } else {
    format->mutable_text_format_source()->set_inline_string(from.format.empty() ? std::string(kText)
                                                                                : from.format);
  }
  format->set_omit_empty_values(from.omit_empty);
  log->set_name("envoy.access_loggers.file");
  Pack(file, log->mutable_typed_config());
  if (from.filter.empty()) return;
  envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter filter;
  filter.set_expression(from.filter);
  auto* extension = log->mutable_filter()->mutable_extension_filter();
  extension->set_name("envoy.access_loggers.extension_filters.cel");
  Pack(filter, extension->mutable_typed_config());
}

}  // namespace

std::vector<AccessLog> DefaultAccessLogs(const MeshConfig& mesh) {
  const auto& names = mesh.default_providers().access_logging();
  if (!names.empty()) return AccessLogsOf(&mesh, {names.begin(), names.end()});
  if (mesh.access_log_file().empty()) return {};
  return {{mesh.access_log_file(), mesh.access_log_format(),
           mesh.access_log_encoding() == MeshConfig::JSON, false, ""}};
}

std::vector<AccessLog> AccessLogsOf(const MeshConfig* mesh,
                                    const std::vector<std::string>& providers) {
  std::vector<AccessLog> logs;
  if (mesh == nullptr) return logs;
  for (const std::string& name : providers) {
    for (const auto& provider : mesh->extension_providers()) {
      if (provider.name() != name || !provider.has_envoy_file_access_log()) continue;
      const auto& from = provider.envoy_file_access_log();
      AccessLog log;
      log.file = from.path().empty() ? "/dev/stdout" : from.path();
      log.omit_empty = from.omit_empty_values().value();
      if (from.log_format().has_labels()) {
        log.json = true;
        (void)google::protobuf::util::MessageToJsonString(from.log_format().labels(), &log.format);
        if (from.log_format().labels().fields().empty()) log.format.clear();
      } else if (from.log_format().has_text()) {
        log.format = from.log_format().text();
      } else if (name == "envoy") {
        // The provider that is always there follows the mesh's own format.
        log.json = mesh->access_log_encoding() == MeshConfig::JSON;
        log.format = mesh->access_log_format();
      }
      if (!log.json && !log.format.empty() && !log.format.ends_with('\n')) log.format += '\n';
      logs.push_back(std::move(log));
      break;
    }
  }
  return logs;
}

void WriteAccessLogs(
    const MeshSettings& mesh,
    google::protobuf::RepeatedPtrField<envoy::config::accesslog::v3::AccessLog>* logs) {
  for (const AccessLog& log : mesh.access_logs) WriteAccessLog(log, logs->Add());
}

}  // namespace isthmus::translate
