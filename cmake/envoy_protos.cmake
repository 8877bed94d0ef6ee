# isthmus_envoy_protos: Envoy's and xDS's messages, generated from the fetched .proto files.
# isthmus_mesh_protos, isthmus_config_protos: our own .proto files, of the wire services and of the configuration API.
set(protos "${ISTHMUS_THIRD_PARTY}/protos")
set(envoy_roots
  envoy/service/discovery/v3/ads.proto
  envoy/service/status/v3/csds.proto
  envoy/admin/v3/config_dump.proto
  envoy/config/bootstrap/v3/bootstrap.proto
  envoy/config/cluster/v3/cluster.proto
  envoy/config/endpoint/v3/endpoint.proto
  envoy/config/listener/v3/listener.proto
  envoy/config/route/v3/route.proto
  envoy/extensions/access_loggers/file/v3/file.proto
  envoy/extensions/access_loggers/filters/cel/v3/cel.proto
  envoy/extensions/access_loggers/stream/v3/stream.proto
  envoy/extensions/clusters/dynamic_forward_proxy/v3/cluster.proto
  envoy/extensions/filters/common/fault/v3/fault.proto
  envoy/extensions/filters/http/cors/v3/cors.proto
  envoy/extensions/filters/http/dynamic_forward_proxy/v3/dynamic_forward_proxy.proto
  envoy/extensions/filters/http/ext_authz/v3/ext_authz.proto
  envoy/extensions/filters/http/fault/v3/fault.proto
  envoy/extensions/filters/http/grpc_stats/v3/config.proto
  envoy/extensions/filters/http/grpc_web/v3/grpc_web.proto
  envoy/extensions/filters/http/jwt_authn/v3/config.proto
  envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.proto
  envoy/extensions/filters/http/lua/v3/lua.proto
  envoy/extensions/filters/http/ratelimit/v3/rate_limit.proto
  envoy/extensions/filters/http/rbac/v3/rbac.proto
  envoy/extensions/filters/http/router/v3/router.proto
  envoy/extensions/filters/http/set_filter_state/v3/set_filter_state.proto
  envoy/extensions/filters/listener/http_inspector/v3/http_inspector.proto
  envoy/extensions/filters/listener/original_dst/v3/original_dst.proto
  envoy/extensions/filters/listener/original_src/v3/original_src.proto
  envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.proto
  envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto
  envoy/extensions/filters/network/ext_authz/v3/ext_authz.proto
  envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto
  envoy/extensions/filters/network/mongo_proxy/v3/mongo_proxy.proto
  envoy/extensions/filters/network/rbac/v3/rbac.proto
  envoy/extensions/filters/network/set_filter_state/v3/set_filter_state.proto
  envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto
  envoy/extensions/network/dns_resolver/cares/v3/cares_dns_resolver.proto
  envoy/extensions/request_id/uuid/v3/uuid.proto
  envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto
  envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config.proto
  envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.proto
  envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.proto
  envoy/extensions/transport_sockets/tls/v3/tls.proto
  envoy/extensions/upstreams/http/v3/http_protocol_options.proto
  udpa/type/v1/typed_struct.proto
  xds/type/v3/typed_struct.proto
)
# Taken when the pinned protos have them.
set(envoy_optional_roots
  envoy/extensions/filters/common/set_filter_state/v3/value.proto
  envoy/config/metrics/v3/stats.proto
  envoy/config/trace/v3/zipkin.proto
  envoy/config/trace/v3/opentelemetry.proto
  envoy/extensions/wasm/v3/wasm.proto
)
if(NOT EXISTS "${protos}/envoy")
  message(FATAL_ERROR "Envoy's .proto files are not in ${protos}: run tools/setup/fetch.py first")
endif()
foreach(root ${envoy_roots} ${envoy_optional_roots})
  if(EXISTS "${protos}/${root}")
    list(APPEND envoy_present ${root})
  elseif(root IN_LIST envoy_roots)
    message(WARNING "${root} is not among the fetched protos")
  endif()
endforeach()
execute_process(
  COMMAND python3 "${PROJECT_SOURCE_DIR}/tools/setup/proto_closure.py" "${protos}" ${envoy_present}
  OUTPUT_VARIABLE closure OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE "\n" ";" closure "${closure}")

# isthmus_proto_library(<target> <import folder> <generated folder> FILES <names...> [IMPORTS <folders...>])
function(isthmus_proto_library target folder generated)
  cmake_parse_arguments(arg "" "" "FILES;IMPORTS;DEPS" ${ARGN})
  set(sources)
  set(outputs)
  set(inputs)
  foreach(file ${arg_FILES})
    string(REGEX REPLACE "\\.proto$" "" stem "${file}")
    list(APPEND sources "${generated}/${stem}.pb.cc")
    list(APPEND outputs "${generated}/${stem}.pb.cc" "${generated}/${stem}.pb.h")
    list(APPEND inputs "${folder}/${file}")
  endforeach()
  if(NOT sources)
    add_library(${target} INTERFACE)
    return()
  endif()
  set(flags "-I${folder}")
  foreach(import ${arg_IMPORTS})
    list(APPEND flags "-I${import}")
  endforeach()
  file(MAKE_DIRECTORY "${generated}")
  add_custom_command(OUTPUT ${outputs}
    COMMAND protobuf::protoc ${flags} "--cpp_out=${generated}" ${arg_FILES}
    DEPENDS ${inputs} COMMENT "Generating the messages of ${target}")
  add_library(${target} STATIC ${sources})
  target_include_directories(${target} SYSTEM PUBLIC "${generated}")
  target_link_libraries(${target} PUBLIC protobuf::libprotobuf ${arg_DEPS})
  target_compile_options(${target} PRIVATE -w -g0)
  # What all of these files read is parsed once for twelve of them. protoc gives two static names to every file.
  target_precompile_headers(${target} PRIVATE <google/protobuf/generated_message_reflection.h> <google/protobuf/wire_format.h>
    <google/protobuf/reflection_ops.h> <google/protobuf/map_entry.h> <google/protobuf/map_field.h> <google/protobuf/any.pb.h>
    <google/protobuf/duration.pb.h> <google/protobuf/struct.pb.h> <google/protobuf/timestamp.pb.h> <google/protobuf/wrappers.pb.h>)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 12 UNITY_BUILD_UNIQUE_ID isthmus_file_id
    UNITY_BUILD_CODE_BEFORE_INCLUDE "#define ISTHMUS_JOIN_NOW(a, b) a##b
#define ISTHMUS_JOIN(a, b) ISTHMUS_JOIN_NOW(a, b)
#define schemas ISTHMUS_JOIN(schemas_of_, isthmus_file_id)
#define file_default_instances ISTHMUS_JOIN(default_instances_of_, isthmus_file_id)"
    UNITY_BUILD_CODE_AFTER_INCLUDE "#undef schemas
#undef file_default_instances")
endfunction()

set(generated "${PROJECT_BINARY_DIR}/generated")
isthmus_proto_library(isthmus_envoy_protos "${protos}" "${generated}/envoy" FILES ${closure})
# The generated code has a method called requires, a keyword since C++20.
set_target_properties(isthmus_envoy_protos PROPERTIES CXX_STANDARD 17)

file(GLOB_RECURSE config_protos RELATIVE "${PROJECT_SOURCE_DIR}/proto/config" CONFIGURE_DEPENDS
     "${PROJECT_SOURCE_DIR}/proto/config/*.proto")
file(GLOB_RECURSE mesh_protos RELATIVE "${PROJECT_SOURCE_DIR}/proto/mesh" CONFIGURE_DEPENDS
     "${PROJECT_SOURCE_DIR}/proto/mesh/*.proto")
isthmus_proto_library(isthmus_config_protos "${PROJECT_SOURCE_DIR}/proto/config" "${generated}/config" FILES ${config_protos})
isthmus_proto_library(isthmus_mesh_protos "${PROJECT_SOURCE_DIR}/proto/mesh" "${generated}/mesh" FILES ${mesh_protos})
