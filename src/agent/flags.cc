#include "agent/flags.h"

#include <optional>

#include "base/strings.h"

namespace isthmus::agent {
namespace {

using base::Code;

std::string AsSwitch(std::string_view text) {
  const std::string value = base::ToLower(text);
  return value == "true" || value == "1" || value == "t" ? "true" : "false";
}

}  // namespace

void Flags::Add(std::string name, char letter, std::string fallback, std::string env) {
  if (letter != 0) letters_[letter] = name;
  flags_[std::move(name)] = Flag{std::move(fallback), std::move(env), false, false};
}

void Flags::AddSwitch(std::string name, char letter, std::string env) {
  if (letter != 0) letters_[letter] = name;
  flags_[std::move(name)] = Flag{"false", std::move(env), true, false};
}

Flags::Flag* Flags::Find(std::string_view name) {
  const auto at = flags_.find(name);
  return at == flags_.end() ? nullptr : &at->second;
}

base::Result<std::vector<std::string>> Flags::Parse(const std::vector<std::string>& args,
                                                    const std::map<std::string, std::string>& env,
                                                    Unknown unknown) {
  for (auto& [name, flag] : flags_) {
    const auto at = flag.env.empty() ? env.end() : env.find(flag.env);
    if (at != env.end()) flag.value = flag.is_switch ? AsSwitch(at->second) : at->second;
  }
  std::vector<std::string> rest;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg == "--") {
      rest.insert(rest.end(), args.begin() + static_cast<std::ptrdiff_t>(i) + 1, args.end());
      break;
    }
    if (arg.size() < 2 || arg[0] != '-') {
      rest.push_back(arg);
      continue;
    }
    Flag* flag = nullptr;
    std::optional<std::string> value;
    if (arg.starts_with("--")) {
      const auto [name, text] = base::Cut(std::string_view(arg).substr(2), "=");
      flag = Find(name);
      if (name.size() + 2 < arg.size()) value = std::string(text);
    } else {
      const auto letter = letters_.find(arg[1]);
      if (letter != letters_.end()) flag = Find(letter->second);
      if (arg.size() > 2) value = arg.substr(arg[2] == '=' ? 3 : 2);
    }
    if (flag == nullptr) {
      if (unknown == Unknown::kRefuse)
        return base::Error(Code::kInvalidArgument, "unknown flag {}", arg);
      if (!value && i + 1 < args.size() && !args[i + 1].starts_with("-")) ++i;
      continue;
    }
    if (!value && flag->is_switch) value = "true";
    if (!value) {
      if (i + 1 == args.size())
        return base::Error(Code::kInvalidArgument, "flag {} needs a value", arg);
      value = args[++i];
    }
    flag->value = flag->is_switch ? AsSwitch(*value) : *value;
    flag->given = true;
  }
  return rest;
}

}  // namespace isthmus::agent
