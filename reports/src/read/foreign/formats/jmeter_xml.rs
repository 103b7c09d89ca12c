//! JMeter, a JTL file in XML: an element a sample. Samples inside of a sample are parts of it.

use super::{
    super::recipe::{Layout, Recipe},
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "jmeter-xml",
    source: "JMeter (JTL, XML)",
    is_it: |head| head.text.starts_with('<') && head.text.contains("<testResults"),
    gives: Gives::Rows(|_| Recipe {
        skip: Some(("rm", "Number of samples in transaction")),
        ..Recipe::new(Layout::Xml, "sent=ts,latency=t:ms,status=rc:http,success=s")
    }),
};
