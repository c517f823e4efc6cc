#include "tour/report.hpp"
namespace parley::cli {
auto as_html(const Results& results) -> std::string {
  return results.summary();
}
}  // namespace parley::cli
