//! A table with a header of any program, whose columns are mapped or have names that say what they hold.

use super::{
    super::recipe::{Layout, Recipe},
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "csv",
    source: "CSV with a header",
    is_it: |_| true,
    gives: Gives::Rows(|head| Recipe { is_by_name: true, ..Recipe::new(Layout::with_header(head.delimiter), "") }),
};
