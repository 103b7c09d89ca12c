//! Checks in the format of JUnit.

use kernel::visible::Visible;
use quick_xml::escape::escape;

use super::Check;

/// Returns the document with a test case for each check.
pub(super) fn document(title: &str, checks: &[&Check]) -> String {
    let failures = checks.iter().filter(|check| check.is_failed).count();
    let title = attribute(title);
    let mut document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{title}\" tests=\"{}\" failures=\"{failures}\">\n",
        checks.len()
    );
    for check in checks {
        let start = format!("    <testcase classname=\"{}\" name=\"{}\"", attribute(&check.of), attribute(&check.name));
        document.push_str(&match check.is_failed {
            true => format!("{start}>\n      <failure message=\"{}\"/>\n    </testcase>\n", attribute(&check.detail)),
            false => format!("{start}/>\n"),
        });
    }
    document.push_str("  </testsuite>\n</testsuites>\n");
    document
}

/// Returns text as the value of an attribute. XML has no way to write most control characters.
fn attribute(text: &str) -> String {
    escape(text.visible().to_string()).into_owned()
}
