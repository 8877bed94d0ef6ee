#include "ads/subscription.h"

#include <algorithm>

#include "ads/type_url.h"

namespace isthmus::ads {
namespace {

// A reason is for people to read; hostile ones must not fill the memory.
constexpr size_t kMaxError = 2000;

std::string Shortened(std::string_view text) {
  if (text.size() <= kMaxError) return std::string(text);
  size_t end = kMaxError;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80)
    --end;  // Not inside a character.
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace

Subscription::Subscription(Protocol protocol, std::string_view type_url, const NameInterner& names)
    : protocol_(protocol),
      own_type_url_(KnownType(type_url).empty() ? type_url : std::string_view()),
      type_url_(own_type_url_.empty() ? KnownType(type_url) : std::string_view(own_type_url_)),
      wildcard_type_(IsWildcardType(type_url)) {
  interest_.names = names.none();
}

Subscription::Outcome Subscription::Handle(const Request& request, NameInterner& names,
                                           base::Time now) {
  return protocol_ == Protocol::kSotw ? HandleSotw(request, names, now)
                                      : HandleDelta(request, names, now);
}

bool Subscription::Settle(const Request& request, base::Time now) {
  if (request.nonce.empty() || request.nonce != nonce_sent_) return false;
  waiting_ = false;
  if (request.rejected) {
    error_ = request.error.empty() ? "no reason given" : Shortened(request.error);
  } else {
    error_.clear();
    nonce_acked_ = nonce_sent_;
    last_acked_ = now;
  }
  return true;
}

Subscription::Outcome Subscription::HandleSotw(const Request& request, NameInterner& names,
                                               base::Time now) {
  if (request.rejected && started_)
    return Settle(request, now) ? Outcome::kRejected : Outcome::kStale;
  if (started_ && request.names.empty() && !wildcard_type_) return Outcome::kUnsubscribed;
  const bool initial = !started_ || request.nonce.empty();
  if (!initial && !Settle(request, now)) return Outcome::kStale;

  NameSetPtr before = interest_.names;
  const bool was_wildcard = interest_.wildcard;
  std::vector<std::string_view> wanted;
  interest_.wildcard = wildcard_type_ && request.names.empty();
  for (std::string_view name : request.names) {
    if (CountsAsWildcard(name))
      interest_.wildcard = true;
    else
      wanted.push_back(name);
  }
  interest_.names = names.Of(std::move(wanted));
  if (initial) {
    started_ = true;
    waiting_ = false;
    owes_all_ = true;
    return Outcome::kAsks;
  }
  if (interest_.wildcard && !was_wildcard) owes_all_ = true;
  if (interest_.names != before && !was_wildcard) {
    for (std::string_view name : interest_.names->all())
      if (!before->Has(name)) owed_.emplace_back(name);
  }
  return owes() ? Outcome::kAsks : Outcome::kAcked;
}

Subscription::Outcome Subscription::HandleDelta(const Request& request, NameInterner& names,
                                                base::Time now) {
  const bool initial = !started_;
  // A nonce of a response that is not the last says nothing about the last, but names that come
  // with it are meant: the client does not send them again.
  const bool stale = !initial && !request.nonce.empty() && !Settle(request, now);

  std::vector<std::string_view> added;
  for (std::string_view name : request.names) {
    if (!CountsAsWildcard(name)) {
      added.push_back(name);
    } else if (!interest_.wildcard) {
      interest_.wildcard = true;
      owes_all_ = true;
    }
  }
  const bool names_only_kept = request.names.empty();
  if (initial) {
    for (std::string_view name : request.had)
      if (!CountsAsWildcard(name)) added.push_back(name);
    // The old form of a wildcard: a first request that names nothing.
    if (wildcard_type_ && names_only_kept) {
      interest_.wildcard = true;
      added.clear();
    }
  }
  for (std::string_view name : request.unsubscribe)
    if (CountsAsWildcard(name)) interest_.wildcard = false;
  interest_.names = names.Change(interest_.names, added, request.unsubscribe);
  if (initial) {
    started_ = true;
    owes_all_ = true;
    return Outcome::kAsks;
  }
  // Asked-for names are answered even if the client has had them: it asks again after it forgot
  // them.
  for (std::string_view name : added)
    if (interest_.names->Has(name)) owed_.emplace_back(name);
  std::erase_if(owed_, [this](const std::string& name) { return !interest_.Wants(name); });
  if (owes() && !request.rejected) return Outcome::kAsks;
  if (stale) return Outcome::kStale;
  return request.rejected ? Outcome::kRejected : Outcome::kAcked;
}

void Subscription::Owe(const NameList& names) {
  if (owes_all_) return;
  for (const std::string& name : names)
    if (interest_.Wants(name)) owed_.push_back(name);
  std::sort(owed_.begin(), owed_.end());
  owed_.erase(std::unique(owed_.begin(), owed_.end()), owed_.end());
}

void Subscription::Sent(std::shared_ptr<const model::View> view, std::string nonce,
                        base::Time now) {
  sent_view_ = std::move(view);
  nonce_sent_ = std::move(nonce);
  last_sent_ = now;
  waiting_ = true;
  owes_all_ = false;
  owed_ = {};
}

}  // namespace isthmus::ads
